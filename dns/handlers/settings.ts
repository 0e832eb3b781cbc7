// What the site's configuration says of upstreams, names and clients: plain data.
import type { Ip } from "../../core/address.ts";
import type { Name } from "../message/name.ts";

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

/** Of each client by itself. */
export interface ClientLimits {
  /** Datagrams a second; 0: any number. */
  readonly queriesPerSecond: number;
  /** Questions that wait for upstreams at one time. */
  readonly pending: number;
}

/** Of what can wait for upstreams at one time, a quarter. */
export const defaultClientLimits: ClientLimits = { queriesPerSecond: 0, pending: 256 };

/** Of a processor's time: 10,000 queries a second that come one by one take 0.25. */
export const defaultRealtimeShare = 0.3;
