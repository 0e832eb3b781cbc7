// DNS to the service addresses goes to the node's own resolver while it answers, and else to whatever has
// rules for them, as kube-proxy has:
//
//   raw: a query to an address in `dns-ahead`, and its answer → untracked, which no rule of NAT sees
//   postrouting: a node's own query that was led elsewhere → from an address that answers find
//
// Elements of `dns-ahead` have a timeout: when nobody renews them, queries are led elsewhere by themselves.
import { type Family, type Ip, familyOf } from "../address.ts";
import { nftTableName } from "../names.ts";
import type { NftMap, NftRule, NftSet, NftTable } from "../nft.ts";
import { rawIn, rawOut } from "./raw-chains.ts";

const families: readonly Family[] = [4, 6];
const dnsPort = 53;

/** For how long an address is still answered here after whoever answers has said so last. */
export const dnsAheadMs = 3_000;

const aheadName = (family: Family): string => `dns-ahead${family}`;
const servicesSet = (family: Family): string => `dns-services${family}`;

const aheadMap = (family: Family, addresses: readonly Ip[]): NftMap => ({
  name: aheadName(family),
  key: [`ipv${family}_addr`],
  value: [],
  timeoutMs: dnsAheadMs,
  elements: addresses.map((address) => ({ key: [address], value: [] })),
});

// The port alone, of whatever protocol, for most packets have another one and are looked at no further. What
// else than a query goes there by chance is left untracked too, as nothing translates it.
const jumpTo = (chain: string, field: "sport" | "dport"): NftRule => ({
  statements: [
    { kind: "match-port", field, port: dnsPort },
    { kind: "jump", chain },
  ],
  comment: "",
});

const untracked = (field: "saddr" | "daddr"): readonly NftRule[] =>
  families.map((family) => ({
    statements: [
      { kind: "match-key", family, key: [field], map: aheadName(family) },
      { kind: "notrack" },
    ],
    comment: "answered here",
  }));

/**
 * The node asks an address of its own from that same address. Led elsewhere, the query would leave the node
 * under it, and the answer would end at another node, which has the address too.
 */
const returnable = (family: Family): NftRule => ({
  statements: [
    { kind: "match-set", field: "saddr", family, set: servicesSet(family), isInverted: false },
    { kind: "match-interface", field: "oifname", name: "lo", isInverted: true },
    { kind: "masquerade", fullyRandom: true },
  ],
  comment: "the node's queries that are answered elsewhere",
});

/** What queries need to get here first, but for the word of which addresses are answered. */
export const dnsAheadTable: NftTable = {
  name: nftTableName,
  sets: [],
  maps: families.map((family) => aheadMap(family, [])),
  chains: [
    { name: "dns-queries", rules: untracked("daddr") },
    { name: "dns-answers", rules: untracked("saddr") },
    rawIn([jumpTo("dns-queries", "dport")]),
    rawOut([jumpTo("dns-queries", "dport"), jumpTo("dns-answers", "sport")]),
  ],
};

/** The part of the table that says of these addresses that they are answered here, whatever of it is there. */
export function dnsAheadPart(addresses: readonly Ip[]): NftTable {
  const wanted = new Map(dnsAheadElements(addresses).map((map) => [map.name, map]));
  return { ...dnsAheadTable, maps: dnsAheadTable.maps.map((map) => wanted.get(map.name) ?? map) };
}

/** What the node's own queries to these addresses need where another answers them. */
export const dnsElsewhereTable = (addresses: readonly Ip[]): NftTable => ({
  name: nftTableName,
  sets: families.map((family): NftSet => ({
    name: servicesSet(family),
    family,
    elements: addresses.filter((address) => familyOf(address) === family),
  })),
  maps: [],
  chains: [
    {
      name: "dns-elsewhere",
      hook: { type: "nat", hook: "postrouting", priority: 100 },
      rules: families.map(returnable),
    },
  ],
});

/** The elements that say of these addresses that they are answered here. */
export const dnsAheadElements = (addresses: readonly Ip[]): readonly NftMap[] =>
  families
    .map((family) =>
      aheadMap(
        family,
        addresses.filter((address) => familyOf(address) === family),
      ),
    )
    .filter(({ elements }) => elements.length > 0);
