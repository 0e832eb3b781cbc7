import type { Cidr, Ip } from "../core/address.ts";
import type { Snapshot } from "../core/cluster/model.ts";
import type { Log } from "../core/log.ts";
import type { CacheSettings } from "./cache.ts";
import type { Name } from "./name.ts";
import type { QueryLogSettings } from "./query-log.ts";
import type { PodBook } from "./pod-book.ts";
import type { SiteNames } from "./site-names.ts";

/** What answers `<dashed address>.<namespace>.pod.<domain>`: see dns/README.md. */
export type PodNames = "insecure" | "verified" | "disabled";

export interface Upstream {
  readonly address: Ip;
  readonly port: number;
  /** Asked over TLS (RFC 7858), never otherwise. */
  readonly tls?: {
    /** The name that its certificate must be for; without it the certificate must have the address. */
    readonly serverName?: string;
  };
}

/** How upstreams are asked, all of them. */
export interface ForwardSettings {
  /**
   * Letters of the name asked in random case, which the answer must repeat: a forger has more to guess
   * (draft-vixie-dnsext-dns0x20). An upstream that does not keep the case is asked in lower case.
   */
  readonly mixCase: boolean;
  /** PEM: whose certificates are trusted over TLS; absent: the authorities that the machine trusts. */
  readonly ca?: string;
}

export const defaultForwardSettings: ForwardSettings = { mixCase: false };

/** Names in the domain are asked of these alone. */
export interface Stub {
  readonly domain: Name;
  readonly upstreams: readonly Upstream[];
}

export interface HostEntry {
  readonly name: Name;
  readonly addresses: readonly Ip[];
}

/** Seconds, of the answers for all names in the domain: our own, and at most that of others'. */
export interface ZoneTtl {
  readonly domain: Name;
  readonly seconds: number;
}

/** A name that stands for another, or a domain whose names stand for those of another. */
export interface Rewrite {
  readonly kind: "name" | "below";
  readonly from: Name;
  readonly to: Name;
}

/** Sockets that listen on an address already, of a process before this one. */
export interface InheritedSockets {
  readonly address: Ip;
  readonly port: number;
  readonly udp?: number;
  readonly tcp?: number;
}

/** Of each client by itself. */
export interface ClientLimits {
  /** Datagrams a second; 0: any number. */
  readonly queriesPerSecond: number;
  /** Questions that wait for upstreams at one time. */
  readonly pending: number;
}

/** Of what can wait for upstreams at one time, a quarter. */
export const defaultClientLimits: ClientLimits = { queriesPerSecond: 0, pending: 256 };

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
  /** Told to who asks which server this is (RFC 5001); absent: nobody is told. */
  readonly serverId?: string;
  /** The worker's entry; default: worker.ts beside server.ts, which a bundle does not have. */
  readonly workerUrl?: URL;
  readonly log: Log;
}
