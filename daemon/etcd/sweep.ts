// What dead nodes leave in etcd that no lease ends: blocks of names that no node has, releases that were broken
// off, published Services without endpoints. One node of the cluster looks for it, once an hour.
import { setTimeout } from "node:timers/promises";
import type { Random } from "../../core/clock.ts";
import { describeError } from "../../core/error.ts";
import type { Log } from "../../core/log.ts";
import { sweepOrphans } from "../../ipam/claims/release.ts";
import { runSteps } from "../../ipam/claims/step.ts";
import { openEtcdClaims } from "./claim-store.ts";
import type { EtcdClient } from "./client.ts";
import type { EtcdKeys } from "./keys.ts";
import { removeEmptyServices } from "./shared-services.ts";

export interface SweepOptions {
  /** Stays the caller's. */
  readonly client: EtcdClient;
  readonly keys: EtcdKeys;
  readonly nodeName: string;
  /** Not before this node knows that the prefix is its cluster's. */
  readonly isAllowed: () => boolean;
  readonly everySeconds: number;
  readonly random: Random;
  readonly log: Log;
}

/** What is not done by then is done by the next. */
const longestMs = 60_000;

/** Runs until aborted. */
export async function keepSwept(options: SweepOptions, signal: AbortSignal): Promise<void> {
  const { everySeconds, random, log, isAllowed } = options;
  // Nodes that start together do not ask together.
  let pauseMs = random.below(everySeconds * 1000);
  for (;;) {
    await setTimeout(pauseMs, undefined, { signal }).catch(() => {});
    if (signal.aborted) return;
    pauseMs = everySeconds * 1000;
    if (!isAllowed()) continue;
    try {
      await sweep(options, AbortSignal.any([signal, AbortSignal.timeout(longestMs)]));
    } catch (error) {
      if (!signal.aborted) log.warn({ problem: describeError(error) }, "cannot sweep etcd");
    }
  }
}

async function sweep(options: SweepOptions, signal: AbortSignal): Promise<void> {
  const { client, keys, random, log } = options;
  if (!(await takeTurn(options, signal))) return;
  const store = openEtcdClaims(client, keys.claims);
  for (const freed of await runSteps(sweepOrphans(random), store, signal)) {
    log.info({ ...freed }, "freed the blocks of a node that is no more");
  }
  for (const service of await removeEmptyServices(client, keys, signal)) {
    log.info({ ...service }, "removed a published service that no node has endpoints of");
  }
}

/** Whoever makes the key has the turn, until its lease ends. */
async function takeTurn(
  { client, keys, nodeName, everySeconds }: SweepOptions,
  signal: AbortSignal,
): Promise<boolean> {
  const key = keys.sweep;
  if ((await client.get(key, signal)) !== undefined) return false;
  const lease = await client.grantLease(everySeconds, signal);
  const { isDone } = await client.transact(
    [{ key, modRevision: 0n }],
    [{ kind: "put", key, value: nodeName, lease }],
    signal,
  );
  if (!isDone) await client.revokeLease(lease, signal);
  return isDone;
}
