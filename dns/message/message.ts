// The shapes of a DNS message (RFC 1035 section 4, RFC 6891) and the numbers that fairlead knows.
import type { Ip } from "../../core/address.ts";
import type { Name } from "./name.ts";

export const RecordType = {
  A: 1,
  NS: 2,
  CNAME: 5,
  SOA: 6,
  PTR: 12,
  HINFO: 13,
  MX: 15,
  TXT: 16,
  AAAA: 28,
  SRV: 33,
  DNAME: 39,
  OPT: 41,
  RRSIG: 46,
  NSEC: 47,
  NSEC3: 50,
  TKEY: 249,
  TSIG: 250,
  IXFR: 251,
  AXFR: 252,
  MAILB: 253,
  MAILA: 254,
  ANY: 255,
} as const;

export const RecordClass = { IN: 1, CH: 3 } as const;

export const Opcode = { query: 0 } as const;

export const Rcode = {
  NOERROR: 0,
  FORMERR: 1,
  SERVFAIL: 2,
  NXDOMAIN: 3,
  NOTIMP: 4,
  REFUSED: 5,
  /** Extended: only in a message with EDNS. */
  BADVERS: 16,
  /** RFC 7873 section 8. */
  BADCOOKIE: 23,
} as const;

/** RFC 8914 section 4: why an answer is as it is. */
export const ExtendedError = {
  other: 0,
  stale: 3,
  cachedError: 13,
  notReady: 14,
  prohibited: 18,
  staleNxdomain: 19,
  notAuthoritative: 20,
  notSupported: 21,
  noReachableAuthority: 22,
} as const;

/** EDNS option codes. */
export const EdnsOptionCode = {
  serverId: 3,
  cookie: 10,
  keepalive: 11,
  padding: 12,
  extendedError: 15,
} as const;

export interface Question {
  readonly name: Name;
  readonly type: number;
  readonly class: number;
}

/** A record's data. What is not understood is opaque octets (RFC 3597), self-contained. */
export type RecordData =
  /** A, AAAA. */
  | { readonly kind: "address"; readonly address: Ip }
  /** CNAME, NS, PTR. */
  | { readonly kind: "name"; readonly name: Name }
  | {
      readonly kind: "soa";
      readonly primary: Name;
      readonly mailbox: Name;
      readonly serial: number;
      readonly refresh: number;
      readonly retry: number;
      readonly expire: number;
      readonly minimum: number;
    }
  | {
      readonly kind: "srv";
      readonly priority: number;
      readonly weight: number;
      readonly port: number;
      readonly target: Name;
    }
  /** One character per octet, at most 255 each. */
  | { readonly kind: "txt"; readonly strings: readonly string[] }
  | { readonly kind: "opaque"; readonly octets: Uint8Array };

export interface ResourceRecord {
  readonly name: Name;
  readonly type: number;
  readonly class: number;
  /** Seconds. */
  readonly ttl: number;
  readonly data: RecordData;
}

export interface EdnsOption {
  readonly code: number;
  readonly octets: Uint8Array;
}

/** The OPT record, which is about the message and no record of it. */
export interface Edns {
  /** The largest UDP message that the sender takes, octets. */
  readonly udpSize: number;
  readonly version: number;
  /** DO: the sender wants DNSSEC records. */
  readonly dnssecOk: boolean;
  readonly options: readonly EdnsOption[];
}

export interface Message {
  readonly id: number;
  readonly isResponse: boolean;
  readonly opcode: number;
  readonly authoritative: boolean;
  readonly truncated: boolean;
  readonly recursionDesired: boolean;
  readonly recursionAvailable: boolean;
  readonly authenticData: boolean;
  readonly checkingDisabled: boolean;
  /** 0 to 4095; above 15 only with `edns`. */
  readonly rcode: number;
  readonly questions: readonly Question[];
  readonly answers: readonly ResourceRecord[];
  readonly authorities: readonly ResourceRecord[];
  /** Without the OPT record, which is `edns`. */
  readonly additionals: readonly ResourceRecord[];
  readonly edns?: Edns;
}

export const headerOctets = 12;
export const maxMessageOctets = 65_535;
/** RFC 1035 section 4.2.1: what every UDP receiver takes. */
export const minUdpOctets = 512;
/** What we offer and what we send: fits an unfragmented IPv6 packet (RFC 9715). */
export const maxUdpOctets = 1232;

/** The message is not one. The text says what and at which octet. */
export class DecodeError extends Error {
  override readonly name = "DecodeError";
}

export const idOf = (packet: Uint8Array): number => ((packet[0] ?? 0) << 8) | (packet[1] ?? 0);
export const isResponse = (packet: Uint8Array): boolean => ((packet[2] ?? 0) & 0x80) !== 0;
export const isTruncated = (packet: Uint8Array): boolean => ((packet[2] ?? 0) & 0x02) !== 0;
export const opcodeOf = (packet: Uint8Array): number => ((packet[2] ?? 0) >> 3) & 0x0f;
/** Without its upper octet, which an OPT record has. */
export const rcodeOf = (packet: Uint8Array): number => (packet[3] ?? 0) & 0x0f;
export const questionCountOf = (packet: Uint8Array): number =>
  ((packet[4] ?? 0) << 8) | (packet[5] ?? 0);
