import type { Ip } from "../../core/address.ts";
import type { RepairLedger } from "../../core/repair-ledger.ts";
import type { PoolStatus, StatusProblem, StatusReport, SweepStatus } from "../../core/status.ts";
import { version } from "../../core/version.ts";
import type { DnsCounters, Upstream } from "../../dns/server.ts";
import { formatUpstream } from "../../dns/upstream/upstream-text.ts";
import type { Config } from "../config/config.ts";
import type { NodeState } from "../reconcile/node-state.ts";
import type { ReconcileCounters } from "../reconcile/reconcile.ts";
import type { Source } from "../source/source.ts";
import { aheadStatus, type AheadState, failedOpen } from "./ahead-status.ts";

export interface ReportInput {
  readonly config: Config;
  /** What of its file is not in force. */
  readonly configProblems: readonly StatusProblem[];
  readonly source: Source;
  /** What the cluster could not be told of this node. */
  readonly untold: readonly string[];
  /** Undefined before the source's first list. */
  readonly state: NodeState | undefined;
  readonly counters: ReconcileCounters;
  readonly ledger: RepairLedger;
  readonly files: { readonly isPublished: boolean; readonly problems: readonly StatusProblem[] };
  readonly dns:
    | {
        readonly counters: DnsCounters;
        readonly listening: readonly Ip[];
        readonly upstreams: readonly Upstream[];
        /** Absent: queries are not kept from others. */
        readonly ahead?: AheadState;
        readonly warnings: readonly string[];
      }
    | undefined;
  readonly addresses: {
    readonly pools: readonly PoolStatus[];
    readonly problems: readonly StatusProblem[];
  };
  readonly sweep: SweepStatus;
  readonly attachments: {
    readonly recorded: number;
    /** What of them the kernel refuses to put back. */
    readonly unmended: readonly string[];
  };
  readonly uptimeMs: number;
}

/** All that the daemon knows of itself, for people and for metrics. */
export function buildReport(input: ReportInput): StatusReport {
  const { config, source, state, counters, files, attachments, uptimeMs } = input;
  const { snapshot } = source.state();
  return {
    version,
    isReady: (state?.isProgrammed ?? false) && files.isPublished,
    problems: problemsOf(input),
    node: nodeStatus(config, state),
    peers: Array.from(
      state?.plan.peers.values() ?? [],
      ({ node: { name, podCidrs, addresses }, path }) => ({
        name,
        podCidrs,
        addresses,
        path: state?.unrouted.has(name) === true ? ("none" as const) : path,
      }),
    ),
    source: {
      kind: source.kind,
      location: source.location,
      revision: snapshot.revision,
      isInSync: snapshot.isInSync,
    },
    reconcile: {
      passes: counters.passes,
      repairs: Object.values(counters.repairs).reduce((sum, count) => sum + count, 0),
      failures: counters.failures,
      ...(counters.lastAtMs !== undefined && {
        lastAt: new Date(counters.lastAtMs).toISOString(),
        lastMs: counters.lastMs,
      }),
    },
    repairs: input.ledger.entries(),
    pools: input.addresses.pools,
    sweep: input.sweep,
    attachments: attachments.recorded,
    dns: dnsStatus(input),
    uptimeSeconds: Math.round(uptimeMs / 1000),
  };
}

/** Why the node is not ready; empty when it is. */
export function unreadiness({ isReady, problems }: StatusReport): readonly string[] {
  if (isReady) return [];
  return problems.length > 0 ? problems.map(({ message }) => message) : ["not programmed yet"];
}

function problemsOf(input: ReportInput): readonly StatusProblem[] {
  const { config, source, state, files, addresses, dns } = input;
  const inArea =
    (area: StatusProblem["area"]) =>
    (message: string): StatusProblem => ({ area, message });
  const silent = config.dns.addresses.filter((address) => !dns?.listening.includes(address));
  return [
    ...input.configProblems,
    ...(state === undefined && source.state().problems.length === 0
      ? [inArea("source")(`Waiting for the first list from ${source.location}`)]
      : []),
    ...source.state().problems.map(inArea("source")),
    ...input.untold.map(inArea("source")),
    ...(state?.problems ?? []),
    ...files.problems,
    ...input.attachments.unmended.map(inArea("attachments")),
    ...addresses.problems,
    ...(dns?.warnings ?? []).map(inArea("dns")),
    ...(dns?.ahead ? failedOpen(dns.ahead) : []).map(inArea("dns")),
    ...(config.dns.isEnabled
      ? silent.map((address) => inArea("dns")(`Cannot answer on ${address} yet: it is not bound`))
      : []),
  ];
}

function nodeStatus({ nodeName, network }: Config, state: NodeState | undefined) {
  const { name, backend, vxlan } = network;
  const local = state?.plan.local;
  return {
    name: nodeName,
    network: name,
    podCidrs: local?.node.podCidrs ?? [],
    addresses: local?.underlay.addresses ?? [],
    ...(local !== undefined && { interface: local.underlay.device, mtu: local.mtu }),
    backend,
    vni: vxlan.vni,
    port: vxlan.port,
  };
}

function dnsStatus({ config, source, dns }: ReportInput): StatusReport["dns"] {
  const { isEnabled, addresses, domain } = config.dns;
  return {
    isEnabled,
    addresses,
    domain,
    upstreams: (dns?.upstreams ?? []).map((upstream) =>
      upstream.tls === undefined
        ? `${upstream.address}#${upstream.port}`
        : formatUpstream(upstream),
    ),
    ...(dns?.ahead && { ahead: aheadStatus(dns.ahead, source.state().snapshot, addresses) }),
    counters: dns === undefined ? {} : flatten(dns.counters),
  };
}

const flatten = ({
  queries,
  responses,
  cache,
  ...counts
}: DnsCounters): Record<string, number> => ({
  udpQueries: queries.udp,
  tcpQueries: queries.tcp,
  ...Object.fromEntries(Object.entries(responses).map(([rcode, n]) => [`answers${rcode}`, n])),
  ...counts,
  cacheHits: cache.hits,
  cacheMisses: cache.misses,
  cacheStale: cache.stale,
  cachePrefetches: cache.prefetches,
  cacheEvictions: cache.evictions,
  cacheEntries: cache.entries,
  cacheBytes: cache.bytes,
});
