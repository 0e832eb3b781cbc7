// Our nftables table: pods' packets to the outside leave with the node's address, and the packets of
// the tunnel are not tracked a second time around their contents.
import { type Cidr, familyOf, type Family, parseCidr } from "../address.ts";
import { invariant } from "../assert.ts";
import { type IfName, nftTableName } from "../names.ts";
import type { NftChain, NftRule, NftSet, NftTable } from "../nft.ts";
import { rawIn, rawOut } from "./raw-chains.ts";

export interface MasqueradeInput {
  /** This node's. */
  readonly podCidrs: readonly Cidr[];
  /** The cluster's. */
  readonly clusterCidrs: readonly Cidr[];
  readonly isEnabled: boolean;
  /** `network.masquerade.except`: reached with the pod's own address, like other pods. */
  readonly except: readonly Cidr[];
  /** Absent with backend direct: there is no tunnel. */
  readonly tunnel?: Tunnel;
}

interface Tunnel {
  /** The device below it, and its index. */
  readonly underlay: IfName;
  readonly index: number;
  /** UDP destination port. */
  readonly port: number;
}

const network = (text: string): Cidr => {
  const cidr = parseCidr(text);
  invariant(cidr !== undefined, `${text} is a network`);
  return cidr;
};

// Multicast is for the link or the group, and means nothing with another source.
const multicast = { 4: network("224.0.0.0/4"), 6: network("ff00::/8") } as const;

export function desireNftTable(input: MasqueradeInput): NftTable {
  const families = input.isEnabled ? ([4, 6] as const) : [];
  const used = families.filter((family) =>
    input.podCidrs.some((podCidr) => familyOf(podCidr) === family),
  );
  const chains: NftChain[] = [];
  if (used.length > 0) {
    chains.push({
      name: "postrouting",
      hook: { type: "nat", hook: "postrouting", priority: 100 },
      rules: used.map(masqueradeRule),
    });
  }
  if (input.tunnel !== undefined) chains.push(...untrackedTunnel(input.tunnel));
  const sets = used.flatMap((family) => familySets(input, family));
  return { name: nftTableName, sets, maps: [], chains };
}

function familySets(input: MasqueradeInput, family: Family): readonly NftSet[] {
  const ofFamily = (cidrs: readonly Cidr[]): readonly Cidr[] =>
    cidrs.filter((cidr) => familyOf(cidr) === family);
  return [
    { name: `pods${family}`, family, elements: ofFamily(input.podCidrs) },
    {
      name: `inside${family}`,
      family,
      elements: [...ofFamily([...input.clusterCidrs, ...input.except]), multicast[family]],
    },
  ];
}

// Fully random: two pods' connections to one server get the same port far less often, which is what
// loses DNS queries on other networks.
const masqueradeRule = (family: Family): NftRule => ({
  statements: [
    { kind: "match-set", field: "saddr", family, set: `pods${family}`, isInverted: false },
    { kind: "match-set", field: "daddr", family, set: `inside${family}`, isInverted: true },
    { kind: "masquerade", fullyRandom: true },
  ],
  comment: "pods to the outside of the cluster",
});

function untrackedTunnel({ underlay, index, port }: Tunnel): NftChain[] {
  // The port first: of every packet that is no UDP, as most of pods are not, nothing else is looked at.
  const rule = (field: "iif" | "oif"): NftRule => ({
    statements: [
      { kind: "match-port", protocol: "udp", port },
      { kind: "match-interface-index", field, index, name: underlay },
      { kind: "notrack" },
    ],
    comment: "the tunnel, whose contents are tracked",
  });
  return [rawIn([rule("iif")]), rawOut([rule("oif")])];
}
