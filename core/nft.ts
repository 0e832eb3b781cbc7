// Our one nftables table as data: what should be there, and what was read back. Statements are the
// few that fairlead uses, each one nft statement; kernel/nft encodes them, formatNftTable prints them.
import type { Family, Ip, Cidr } from "./address.ts";

export type NftHook = "prerouting" | "input" | "forward" | "output" | "postrouting";

export interface NftChain {
  readonly name: string;
  /** A base chain; absent for a chain that is only jumped to. */
  readonly hook?: {
    readonly type: "filter" | "nat" | "route";
    readonly hook: NftHook;
    /** Lower runs first: raw -300, dstnat -100, filter 0, srcnat 100. */
    readonly priority: number;
  };
  readonly rules: readonly NftRule[];
}

export interface NftRule {
  readonly statements: readonly NftStatement[];
  readonly comment: string;
}

export type NftStatement =
  /** `ip saddr @set`, `ip6 daddr != @set`: matches only packets of the set's family. */
  | {
      readonly kind: "match-set";
      readonly field: "saddr" | "daddr";
      readonly family: Family;
      readonly set: string;
      readonly isInverted: boolean;
    }
  /** `oifname "fl-vxlan"`, `iifname != "lo"`. */
  | {
      readonly kind: "match-interface";
      readonly field: "iifname" | "oifname";
      readonly name: string;
      readonly isInverted: boolean;
    }
  /** `udp dport 4789`. */
  | { readonly kind: "match-port"; readonly protocol: "tcp" | "udp"; readonly port: number }
  | { readonly kind: "masquerade"; readonly fullyRandom: boolean }
  | { readonly kind: "notrack" }
  | { readonly kind: "accept" }
  | { readonly kind: "return" };

/** A set of networks of one family (an interval set). */
export interface NftSet {
  readonly name: string;
  readonly family: Family;
  readonly elements: readonly (Ip | Cidr)[];
}

export interface NftTable {
  readonly name: string;
  readonly sets: readonly NftSet[];
  readonly chains: readonly NftChain[];
}

/**
 * What is in the kernel under our name. `rules` are recognised by the digest that each rule carries
 * in its user data; the set elements are compared one by one.
 */
export interface ObservedNftTable {
  readonly sets: ReadonlyMap<string, readonly (Ip | Cidr)[]>;
  /** Chain name → its rules' digests, in order. */
  readonly chains: ReadonlyMap<string, readonly string[]>;
}
