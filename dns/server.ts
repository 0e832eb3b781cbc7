import type { Ip } from "../core/address.ts";
import type { Snapshot } from "../core/cluster/model.ts";
import type { DnsOptions } from "./options.ts";

/** All only grow, also over a restart of the worker. */
export interface DnsCounters {
  /** Queries that came over each transport, malformed ones included. */
  readonly queries: { readonly udp: number; readonly tcp: number };
  /** Answers by the name of their rcode: `NOERROR`, `NXDOMAIN` … */
  readonly responses: Readonly<Record<string, number>>;
  /** Queries passed to an upstream, after coalescing. */
  readonly forwarded: number;
  /** Queries refused because of where they came from. */
  readonly refused: number;
  /** Datagrams left without an answer: too short, or themselves answers. */
  readonly dropped: number;
  /** Queries that failed for a reason of our own. */
  readonly errors: number;
  /** Times that the worker ended by itself and was started again. */
  readonly restarts: number;
}

export interface DnsServer extends AsyncDisposable {
  /** Hands over the cluster's newest state. Returns at once; only the newest is kept. */
  publish(snapshot: Snapshot): void;
  counters(): DnsCounters;
  /** The addresses now bound, of those configured. */
  listening(): readonly Ip[];
}

export type { DnsOptions, PodNames, Upstream } from "./options.ts";

/**
 * Starts the resolver in its own thread. Resolves once each address was bound or its failure was
 * logged (it is tried again). Rejects with ConfigError when `domain` is no name.
 */
export async function startDns(options: DnsOptions): Promise<DnsServer> {
  throw new Error(`Cannot answer for "${options.domain}": the resolver has not landed yet`);
}
