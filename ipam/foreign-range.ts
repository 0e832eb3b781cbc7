// Ranges of a configuration's own that are somebody else's. A pod's address is a route at the node: one
// that another machine has cuts that machine off. Pure.
import { type Cidr, type Ip, cidrBase, cidrLast, familyOf, ipToBigInt } from "../core/address.ts";
import { CniCode, CniError } from "../core/cni/error.ts";
import type { NodeFacts } from "../core/node-facts.ts";
import { paths } from "../core/paths.ts";
import { specialNetworks } from "../core/special-networks.ts";
import { type Range, type RangeSet, formatSet } from "./range.ts";

/** What of the node says whose addresses are; what is absent is not known. */
export type OwnerFacts = Partial<
  Pick<
    NodeFacts,
    "network" | "podCidrs" | "pools" | "clusterCidrs" | "serviceCidrs" | "nodeAddresses" | "dns"
  >
>;

/** Which leases say what is held: of one network, in one directory. */
export interface LeasePlace {
  readonly network: string;
  readonly dataDir: string | undefined;
}

/** Whether the place is that of the daemon's network, which gives the addresses of the node's blocks. */
export const isDaemons = (
  { network, dataDir = paths.leases }: LeasePlace,
  facts: OwnerFacts,
): boolean => network === facts.network && dataDir === paths.leases;

/**
 * Throws CniError invalidConfig naming the first range that has addresses of others, and whose. Those of
 * the node's own blocks are for the daemon's network alone: two places of leases would give them twice.
 */
export function refuseForeign(
  sets: readonly RangeSet[],
  place: LeasePlace,
  facts: OwnerFacts = {},
): void {
  for (const range of sets.flat()) {
    const special = specialNetworks.find(({ cidr }) => overlaps(range, cidr));
    if (special !== undefined) throw refused(range, `${special.cidr}, which is ${special.what}`);
    const { nodeAddresses = [], dns, serviceCidrs = [] } = facts;
    refuseAddresses([range], nodeAddresses, "this node's own address");
    refuseAddresses([range], dns?.nameservers ?? [], "the cluster's DNS service address");
    const services = serviceCidrs.find((cidr) => overlaps(range, cidr));
    if (services !== undefined) throw refused(range, `the services' network ${services}`);
    const { podCidrs = [] } = facts;
    const block = podCidrs.find((cidr) => overlaps(range, cidr));
    if (block !== undefined && !isDaemons(place, facts)) {
      const owner = `network "${facts.network}" in ${paths.leases}`;
      throw refused(range, `this node's block ${block}, whose addresses ${owner} has`);
    }
    const network = clusterNetworks(facts).find((cidr) => overlaps(range, cidr));
    const isOurs = podCidrs.some((cidr) => isInside(range, cidr));
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
