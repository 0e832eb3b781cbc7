// The etcd source of a daemon: reading the cluster, and this node's own part in it. Loaded only where the
// configuration asks for it.
import { randomUUID } from "node:crypto";
import { mkdirSync } from "node:fs";
import { openRecords } from "../../attach/records.ts";
import { type Cidr, parseIp } from "../../core/address.ts";
import type { Snapshot } from "../../core/cluster/model.ts";
import type { NodeFacts } from "../../core/node-facts.ts";
import type { Use } from "../../ipam/claims/agent.ts";
import { nodeRanges } from "../../ipam/range.ts";
import { systemRandom } from "../../kernel/random.ts";
import type { Config, EtcdConfig } from "../config/config.ts";
import { readFileIfThere, replaceFile } from "../files/replace-file.ts";
import { DirectoryWatch } from "../files/watch.ts";
import { machineId } from "../node/machine-id.ts";
import type { OwnNode, SourceContext } from "../source/source-context.ts";
import { observeUnderlay } from "../reconcile/observe.ts";
import type { Source } from "../source/source.ts";
import { EtcdClient } from "./client.ts";
import { openEtcdSource } from "./etcd-source.ts";
import { keysUnder } from "./keys.ts";
import { checkMarker, type ClusterTraits, lookAtMarker } from "./marker.ts";
import { EtcdMember } from "./member.ts";
import { ownAddresses } from "./own-address.ts";
import { ownAttachments, ownServices } from "./own-objects.ts";
import { readEtcdOnce } from "./read-once.ts";

export interface EtcdClusterContext extends SourceContext, OwnNode {
  readonly etcd: EtcdConfig;
}

const watchTiming = { quietMs: 10, atMostMs: 100, everyMs: 10_000 };

export function openEtcdCluster(context: EtcdClusterContext): Source {
  const stack = new DisposableStack();
  const { config, etcd, paths, clock, log, known } = context;
  const { nodeName, network } = config;
  const client = stack.use(new EtcdClient(etcd));
  const records = openRecords({ directory: paths.attachments, clock, log });
  const member = stack.use(
    new EtcdMember({
      client,
      prefix: etcd.prefix,
      leaseSeconds: etcd.leaseSeconds,
      nodeName,
      instance: machineId(paths),
      network,
      previous: previousBlocks(config, known()),
      useOf: (block, signal) => useOf(context, block, signal),
      addresses: () =>
        ownAddresses(
          network.interface,
          parseIp((client.localAddress ?? "").replace(/^::ffff:/, "")),
          observeUnderlay(context.kernel),
        ),
      attachments: () => ownAttachments(nodeName, network.name, records.list().records),
      services: () => ownServices(nodeName, paths.services),
      checkMarker: openMarkerCheck(context, client),
      ...(context.alone !== undefined && { mayBegin: context.alone }),
      clock,
      random: systemRandom,
      log,
    }),
  );
  // Whoever publishes finds it, and is noticed at once.
  mkdirSync(paths.services, { recursive: true, mode: 0o755 });
  const watch = stack.use(new DirectoryWatch(() => look(), watchTiming));
  const look = (): void => {
    watch.follow(new Set([paths.attachments, paths.services]));
    watch.expect();
    member.wake();
  };
  look();
  const source = stack.use(
    openEtcdSource({
      client,
      prefix: etcd.prefix,
      copyPath: paths.clusterCopy,
      clock,
      random: systemRandom,
      log,
      member,
    }),
  );
  return {
    kind: source.kind,
    location: source.location,
    state: () => source.state(),
    subscribe: (listener) => source.subscribe(listener),
    [Symbol.dispose]: () => stack.dispose(),
  };
}

const previousBlocks = ({ network }: Config, facts: NodeFacts | undefined): readonly Cidr[] =>
  facts?.network === network.name ? facts.podCidrs : [];

async function useOf(
  { config, ipam, known }: EtcdClusterContext,
  block: Cidr,
  signal: AbortSignal,
): Promise<Use> {
  const reserved = known()?.reserved ?? [];
  const offer = {
    ranges: nodeRanges([block]),
    withheld: reserved.map((span) => ({ ...span, reason: "reserved" as const })),
  };
  const usages = await ipam.usage(config.network.name, offer, signal);
  const sum = (of: (usage: (typeof usages)[number]) => number): number =>
    usages.reduce((total, usage) => total + of(usage), 0);
  const used = sum(({ held, heldBesides }) => held + heldBesides);
  const quarantined = sum(({ resting }) => resting);
  return { used, quarantined, free: sum(({ size }) => Number(size)) - used - quarantined };
}

/**
 * The cluster as etcd has it, for a daemon that would take the place of one that runs: nothing is written.
 * Throws an error that says why etcd would not do: out of reach, a login refused, another cluster's prefix.
 */
export async function readEtcdBefore(
  context: SourceContext & { readonly etcd: EtcdConfig },
  signal: AbortSignal,
): Promise<Snapshot> {
  const { config, etcd, paths } = context;
  using client = new EtcdClient(etcd);
  const told = readFileIfThere(paths.clusterId)?.trim();
  const marker = { client, keys: keysUnder(etcd.prefix), traits: traitsOf(config) };
  const bounded = AbortSignal.any([signal, AbortSignal.timeout(readBeforeMs)]);
  await lookAtMarker({ ...marker, id: told ?? "", isKnown: told !== undefined }, bounded);
  const { snapshot } = await readEtcdOnce(client, etcd.prefix, bounded);
  const others = [...(snapshot.attachments ?? [])].filter(
    ([, { nodeName }]) => nodeName !== config.nodeName,
  );
  return { ...snapshot, attachments: new Map(others) };
}

/** The daemon that runs waits a minute for the next. */
const readBeforeMs = 20_000;

const traitsOf = ({ network }: Config): ClusterTraits => ({
  network: network.name,
  podCIDRs: network.podCidrs,
  ...network.vxlan,
});

/** Keeps the id of the cluster that this node has joined. */
function openMarkerCheck(
  { config, etcd, paths }: EtcdClusterContext,
  client: EtcdClient,
): (signal: AbortSignal) => Promise<void> {
  const traits = traitsOf(config);
  let told = readFileIfThere(paths.clusterId)?.trim();
  return async (signal) => {
    const id = told ?? randomUUID();
    const keys = keysUnder(etcd.prefix);
    const isKnown = told !== undefined;
    const found = await checkMarker({ client, keys, traits, id, isKnown }, signal);
    if (found === told) return;
    replaceFile(paths.clusterId, `${found}\n`, 0o644);
    told = found;
  };
}
