import type { Cidr, Ip } from "../core/address.ts";
import type { Snapshot } from "../core/cluster/model.ts";
import type { Log } from "../core/log.ts";
import type { PodBook } from "./cluster/pod-book.ts";
import type { PodNames } from "./cluster/zone.ts";
import type { CacheSettings } from "./handlers/cache.ts";
import type { ClientLimits, ForwardSettings, Upstream } from "./handlers/settings.ts";
import type { SiteNames } from "./handlers/site-names.ts";
import type { QueryLogSettings } from "./respond/query-log.ts";

/** Sockets that listen on an address already, of a process before this one. */
export interface InheritedSockets {
  readonly address: Ip;
  readonly port: number;
  readonly udp?: number;
  readonly tcp?: number;
}

export interface DnsOptions {
  /** Each is bound by itself, never the wildcard: an answer leaves from the address asked. */
  readonly addresses: readonly Ip[];
  /** UDP and TCP; 53 outside tests. */
  readonly port: number;
  /** The cluster's domain: `cluster.local`. */
  readonly domain: string;
  /** Seconds, of all records of the cluster's domain. */
  readonly ttl: number;
  readonly pods: PodNames;
  /** Asked in this order for names outside the domain; none: such names are refused. */
  readonly upstreams: readonly Upstream[];
  /** Default: {@link defaultForwardSettings}. */
  readonly forward?: ForwardSettings;
  /** Absent: no query is logged. */
  readonly queryLog?: QueryLogSettings;
  /** Whether a pod's search list is walked for it; default: yes. */
  readonly autopath?: boolean;
  /** This node's pods; default: none is known. */
  readonly podBook?: PodBook;
  /** What the site adds; default: nothing. */
  readonly site?: SiteNames;
  /** Default: {@link defaultCacheSettings}. */
  readonly cache?: CacheSettings;
  /** The cluster's state: not a query is taken before it is in the answers. Default: taken at once. */
  readonly snapshot?: Snapshot;
  /** Used in place of new ones; those of other addresses are closed. */
  readonly inherited?: readonly InheritedSockets[];
  /** The sockets are others, or ready: see {@link DnsServer.sockets}. */
  readonly onSockets?: () => void;
  /** Who may ask: pods and the node itself. Others are refused. */
  readonly clients: readonly Cidr[];
  /** Default: `batched`, and `plain` where that cannot be: one datagram at a time, by node:dgram. */
  readonly udp?: "batched" | "plain";
  /** Default: {@link defaultClientLimits}. */
  readonly limits?: ClientLimits;
  /**
   * Of a processor's time, 0 to 1: for so long the thread that takes datagrams goes before all other programs, where
   * the kernel lets it. Default: {@link defaultRealtimeShare}.
   */
  readonly realtimeShare?: number;
  /** Told to who asks which server this is (RFC 5001); absent: nobody is told. */
  readonly serverId?: string;
  /** The worker's entry; default: worker.ts beside server.ts, which a bundle does not have. */
  readonly workerUrl?: URL;
  readonly log: Log;
}
