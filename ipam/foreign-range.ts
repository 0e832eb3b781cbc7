// Ranges of a configuration's own that are somebody else's. A pod's address is a route at the node: one
// that another machine has cuts that machine off. Pure.
import { type Cidr, type Ip, cidrBase, cidrLast, familyOf, ipToBigInt } from "../core/address.ts";
import { CniCode, CniError } from "../core/cni/error.ts";
import type { NodeFacts } from "../core/node-facts.ts";
import { specialNetworks } from "../core/special-networks.ts";
import { type Range, type RangeSet, formatSet } from "./range.ts";

/** What of the node says whose addresses are; what is absent is not known. */
export type OwnerFacts = Partial<
  Pick<NodeFacts, "podCidrs" | "pools" | "clusterCidrs" | "serviceCidrs" | "nodeAddresses" | "dns">
>;

/** Throws CniError invalidConfig naming the first range that has addresses of others, and whose. */
export function refuseForeign(sets: readonly RangeSet[], facts: OwnerFacts = {}): void {
  for (const range of sets.flat()) {
    const special = specialNetworks.find(({ cidr }) => overlaps(range, cidr));
    if (special !== undefined) throw refused(range, `${special.cidr}, which is ${special.what}`);
    const { nodeAddresses = [], dns, serviceCidrs = [] } = facts;
    refuseAddresses([range], nodeAddresses, "this node's own address");
    refuseAddresses([range], dns?.nameservers ?? [], "the cluster's DNS service address");
    const services = serviceCidrs.find((cidr) => overlaps(range, cidr));
    if (services !== undefined) throw refused(range, `the services' network ${services}`);
    const network = clusterNetworks(facts).find((cidr) => overlaps(range, cidr));
    const isOurs = (facts.podCidrs ?? []).some((block) => isInside(range, block));
    if (network !== undefined && !isOurs) {
      throw refused(range, `the cluster's pod network ${network} outside this node's blocks`);
    }
  }
}

/** Throws CniError invalidConfig when one of the addresses is inside a range. */
export function refuseAddresses(ranges: RangeSet, addresses: readonly Ip[], whose: string): void {
  for (const range of ranges) {
    const found = addresses.find((address) => spans(range, address, address));
    if (found !== undefined) throw refused(range, `${found}, ${whose}`);
  }
}

const clusterNetworks = ({ clusterCidrs = [], pools = [] }: OwnerFacts): readonly Cidr[] => [
  ...clusterCidrs,
  ...pools.flatMap(({ cidrs }) => cidrs),
];

const overlaps = (range: Range, cidr: Cidr): boolean =>
  spans(range, cidrBase(cidr), cidrLast(cidr));

const spans = (range: Range, first: Ip, last: Ip): boolean =>
  familyOf(first) === range.family &&
  range.first <= ipToBigInt(last) &&
  ipToBigInt(first) <= range.last;

const isInside = (range: Range, cidr: Cidr): boolean =>
  familyOf(cidr) === range.family &&
  ipToBigInt(cidrBase(cidr)) <= range.first &&
  range.last <= ipToBigInt(cidrLast(cidr));

const refused = (range: Range, what: string): CniError =>
  new CniError(
    CniCode.invalidConfig,
    `Cannot use range ${formatSet([range])}: expected one without ${what}`,
  );
