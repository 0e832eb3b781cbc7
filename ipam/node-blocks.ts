// Which part of the cluster CIDR is which node's. Pure: the same blocks taken give the same answer.
import IpCidr from "ip-cidr";
import {
  type Cidr,
  cidrBase,
  cidrContains,
  cidrLast,
  cidrOf,
  cidrPrefixLength,
  cidrsOverlap,
  type Family,
  familyOf,
  ipFromBigInt,
  ipToBigInt,
} from "../core/address.ts";

/** How a cluster, or a pool of it, is divided: `network.podCIDRs` and `network.nodePrefixLength`. */
export interface BlockPlan {
  /** Several of one family are alternatives, in their order. */
  readonly clusterCidrs: readonly Cidr[];
  readonly nodePrefixLength: { readonly ipv4: number; readonly ipv6: number };
  /** Never given, of any size: a block that overlaps one of these is passed over. */
  readonly reserved?: readonly Cidr[];
}

export type NodeBlocks =
  /** As many of each family as were asked for, in the order in which the cluster CIDRs name them. */
  | { readonly kind: "assigned"; readonly blocks: readonly Cidr[] }
  | {
      readonly kind: "exhausted";
      /** All of the family. */
      readonly clusterCidrs: readonly Cidr[];
      readonly prefixLength: number;
      /** How many blocks they have. */
      readonly size: bigint;
    };

export interface BlockRequest {
  /** What other nodes have, or this one keeps: of any size, also outside the cluster CIDRs. */
  readonly taken: readonly Cidr[];
  /** What the node had before, by preference: it gets back what is still free and still a block. */
  readonly previous?: readonly Cidr[];
  /** Of each family; default 1. */
  readonly count?: number;
  /** Default: those of the cluster CIDRs. */
  readonly families?: readonly Family[];
}

/** Blocks for one node: those it had before, else the first free ones, of each family. */
export function assignBlocks(plan: BlockPlan, request: BlockRequest): NodeBlocks {
  const { taken, previous = [], count = 1 } = request;
  const families = request.families ?? familiesOf(plan);
  if (families.length === 0) throw new RangeError("Cannot divide a cluster without a CIDR");
  const blocks: Cidr[] = [];
  for (const family of families) {
    const chosen = [...new Set(previous)]
      .filter((block) => familyOf(block) === family && isBlockOf(plan, block))
      .filter((block) => !taken.some((other) => cidrsOverlap(other, block)))
      .slice(0, count);
    const free = freeBlocks(plan, family, [...taken, ...chosen]);
    while (chosen.length < count) {
      const next = free.next();
      if (next.done === true) return exhaustedOf(plan, family);
      chosen.push(next.value);
    }
    blocks.push(...chosen);
  }
  return { kind: "assigned", blocks };
}

/**
 * The first free block of each family. `taken`: what other nodes have and what is reserved, of any
 * size, also outside the cluster CIDRs.
 */
export const assignNodeBlocks = (plan: BlockPlan, taken: readonly Cidr[]): NodeBlocks =>
  assignBlocks(plan, { taken });

/** As {@link assignNodeBlocks}, for one node after the other, without end: each takes the next. */
export function* assignEachNode(plan: BlockPlan, taken: readonly Cidr[]): Generator<NodeBlocks> {
  const families = familiesOf(plan).map((family) => ({
    family,
    free: freeBlocks(plan, family, taken),
  }));
  while (families.length > 0) {
    const blocks: Cidr[] = [];
    let exhausted: NodeBlocks | undefined;
    for (const { family, free } of families) {
      const next = free.next();
      if (next.done === true) exhausted ??= exhaustedOf(plan, family);
      else blocks.push(next.value);
    }
    yield exhausted ?? { kind: "assigned", blocks };
  }
}

/** In the order in which the cluster CIDRs name them. */
export const familiesOf = (plan: BlockPlan): readonly Family[] => [
  ...new Set(plan.clusterCidrs.map(familyOf)),
];

/** One of those that the plan divides its CIDRs into. */
export const isBlockOf = (plan: BlockPlan, cidr: Cidr): boolean =>
  cidrPrefixLength(cidr) === prefixLengthOf(plan, familyOf(cidr)) &&
  plan.clusterCidrs.some((cluster) => cidrContains(cluster, cidr)) &&
  !(plan.reserved ?? []).some((reserved) => cidrsOverlap(reserved, cidr));

const prefixLengthOf = (plan: BlockPlan, family: Family): number =>
  plan.nodePrefixLength[`ipv${family}`];

/** That nothing is left of a family. */
export function exhaustedOf(
  plan: BlockPlan,
  family: Family,
): Extract<NodeBlocks, { kind: "exhausted" }> {
  const clusterCidrs = plan.clusterCidrs.filter((cidr) => familyOf(cidr) === family);
  const prefixLength = prefixLengthOf(plan, family);
  const apart = clusterCidrs.filter((cidr, i) => !isInside(cidr, clusterCidrs, i));
  const size = apart.reduce((sum, cidr) => sum + blockCount(cidr, prefixLength), 0n);
  return { kind: "exhausted", clusterCidrs, prefixLength, size };
}

// Of two equal ones the first counts.
const isInside = (cidr: Cidr, all: readonly Cidr[], at: number): boolean =>
  all.some((other, i) => i !== at && cidrContains(other, cidr) && (other !== cidr || i < at));

/** For the operator. */
export const describeExhaustion = ({
  clusterCidrs,
  prefixLength,
  size,
}: Extract<NodeBlocks, { kind: "exhausted" }>): string =>
  `No pod CIDR is left for a node: all ${size} blocks of /${prefixLength} ` +
  `in ${clusterCidrs.join(", ")} are taken`;

/**
 * Every block of a family that nothing taken or reserved overlaps, in ascending order in each cluster
 * CIDR. The time grows with how much is taken, not with how large the CIDRs are.
 */
export function* freeBlocks(
  plan: BlockPlan,
  family: Family,
  taken: readonly Cidr[],
): Generator<Cidr, void, void> {
  const prefixLength = prefixLengthOf(plan, family);
  const clusterCidrs = plan.clusterCidrs.filter((cidr) => familyOf(cidr) === family);
  for (const [at, cluster] of clusterCidrs.entries()) {
    const step = blockSize(cluster, prefixLength);
    // What an earlier cluster CIDR has in common with this one has been given there.
    const obstacles = [...taken, ...(plan.reserved ?? []), ...clusterCidrs.slice(0, at)]
      .filter((cidr) => cidrsOverlap(cidr, cluster))
      .map((cidr) => ({ first: ipToBigInt(cidrBase(cidr)), last: ipToBigInt(cidrLast(cidr)) }))
      .sort((a, b) => (a.first < b.first ? -1 : 1));
    let ahead = 0;
    const [first, last] = boundsOf(cluster);
    let start = first;
    while (start + step - 1n <= last) {
      while ((obstacles[ahead]?.last ?? start) < start) ahead++;
      const obstacle = obstacles[ahead];
      if (obstacle === undefined || obstacle.first >= start + step) {
        yield cidrOf(ipFromBigInt(start, family), prefixLength);
        start += step;
      } else start += ((obstacle.last - start) / step + 1n) * step;
    }
  }
}

const blockSize = (cluster: Cidr, prefixLength: number): bigint =>
  1n << BigInt((familyOf(cluster) === 4 ? 32 : 128) - prefixLength);

// None when a block would be larger than the cluster CIDR.
function blockCount(cluster: Cidr, prefixLength: number): bigint {
  const [first, last] = boundsOf(cluster);
  return (last - first + 1n) / blockSize(cluster, prefixLength);
}

// Of the one or two cluster CIDRs. The thousands of networks that are taken are measured by
// core/address, which takes a twentieth of the 18 µs.
const boundsOf = (cluster: Cidr): readonly [first: bigint, last: bigint] =>
  new IpCidr(cluster).toRange<bigint>({ type: "bigInteger" });
