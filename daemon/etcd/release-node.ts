// Takes a node that is gone for good out of the cluster: its blocks, its name, its Node object.
import { setTimeout } from "node:timers/promises";
import type { Cidr } from "../../core/address.ts";
import type { Clock, Random } from "../../core/clock.ts";
import { describeError } from "../../core/error.ts";
import {
  blocksPrefix,
  nodeKey,
  nodesPrefix,
  readBlock,
  readNode,
} from "../../ipam/claims/records.ts";
import {
  finishRelease,
  releaseNameless,
  releaseNode,
  type ReleaseResult,
} from "../../ipam/claims/release.ts";
import { runSteps } from "../../ipam/claims/step.ts";
import type { ClaimEntry, ClaimStore } from "../../ipam/claims/store.ts";
import { openEtcdClaims } from "./claim-store.ts";
import type { EtcdClient } from "./client.ts";
import { keyOfObject, keysUnder } from "./keys.ts";
import { ownNodeKey } from "./own-objects.ts";

export interface NodeReleaseOptions {
  /** Stays the caller's. */
  readonly client: EtcdClient;
  readonly prefix: string;
  /** The operator's word that the machine is gone, whatever etcd still has of it. */
  readonly isForced: boolean;
  /** How long the node must show no sign of life before anything is taken from it. */
  readonly silenceMs: number;
  /** Called when this begins to be waited for. */
  readonly onWait: (ms: number) => void;
  readonly clock: Clock;
  readonly random: Random;
}

export interface ReleasedNode {
  readonly node: string;
  readonly blocks: readonly Cidr[];
  readonly hadNodeObject: boolean;
}

/** Rejects when there is no such node, when it may be alive, and when etcd does not answer. */
export async function releaseFromEtcd(
  node: string,
  options: NodeReleaseOptions,
  signal: AbortSignal,
): Promise<ReleasedNode> {
  const { client, prefix, isForced } = options;
  const keys = keysUnder(prefix);
  const store = openEtcdClaims(client, keys.claims);
  // First: a sign of life that comes after it makes the mark fail.
  const record = await store.get(nodeKey(node), signal);
  const object = await client.get(keyOfObject(ownNodeKey(node), keys), signal);
  if (record === undefined && object === undefined) await requireBlocks(node, store, signal);
  if (object !== undefined && !isForced) {
    throw new Error(
      `Cannot release Node ${node}: its lease is alive, so it may be, and its pods have its addresses. ` +
        "The lease ends cluster.etcd.nodeLeaseSeconds after the node's last sign of life; " +
        "if the machine is gone for good, --force",
    );
  }
  const result = await release({ node, record, store, options }, signal);
  if (result.kind !== "released") throw new Error(describeFailure(node, result));
  // Only the one that was seen: another machine may have taken the name.
  if (object !== undefined) {
    const { key, modRevision } = object;
    await client.transact([{ key, modRevision }], [{ kind: "delete", key }], signal);
  }
  return { node, blocks: result.blocks, hadNodeObject: object !== undefined };
}

interface Release {
  readonly node: string;
  readonly record: ClaimEntry | undefined;
  readonly store: ClaimStore;
  readonly options: NodeReleaseOptions;
}

async function release(
  { node, record, store, options }: Release,
  signal: AbortSignal,
): Promise<ReleaseResult> {
  const { clock, random, isForced, silenceMs, onWait } = options;
  if (record === undefined) return runSteps(releaseNameless(node, random), store, signal);
  if (readNode(record).state === "released") {
    return runSteps(finishRelease(node, record, random), store, signal);
  }
  const seen = { node, entry: record, seenAtMs: clock.monotonicMs() };
  const leaseMs = isForced ? 0 : silenceMs;
  if (leaseMs > 0) onWait(leaseMs);
  for (;;) {
    const steps = releaseNode(seen, { leaseMs, nowMs: clock.monotonicMs(), random });
    const result = await runSteps(steps, store, signal);
    if (result.kind !== "tooEarly") return result;
    await setTimeout(Math.ceil(result.waitMs), undefined, { signal });
  }
}

async function requireBlocks(node: string, store: ClaimStore, signal: AbortSignal): Promise<void> {
  const blocks = await store.list(blocksPrefix, signal);
  if (blocks.some((entry) => readBlock(entry)?.node === node)) return;
  const names = (await store.list(nodesPrefix, signal)).map(({ key }) =>
    key.slice(nodesPrefix.length),
  );
  const more = names.length > mostNames ? `, and ${names.length - mostNames} more` : "";
  const known = names.length === 0 ? "none" : `${names.slice(0, mostNames).join(", ")}${more}`;
  throw new Error(`Cannot release Node ${node}: etcd knows no node of this name; it has ${known}`);
}
const mostNames = 20;

function describeFailure(node: string, result: Exclude<ReleaseResult, { kind: "released" }>) {
  const why =
    result.kind === "unavailable"
      ? `${describeError(result.cause)}; what has begun goes on when this is said again`
      : "it showed a sign of life, and keeps what it has";
  return `Cannot release Node ${node}: ${why}`;
}
