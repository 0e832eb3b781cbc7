// Which part of the cluster CIDR is which node's. Pure: the same blocks taken give the same answer.
import IpCidr from "ip-cidr";
import {
  type Cidr,
  cidrBase,
  cidrLast,
  cidrOf,
  cidrsOverlap,
  familyOf,
  ipFromBigInt,
  ipToBigInt,
} from "../core/address.ts";

/** How a cluster is divided into nodes: `network.podCIDRs` and `network.nodePrefixLength`. */
export interface BlockPlan {
  /** Several of one family are alternatives, in their order. */
  readonly clusterCidrs: readonly Cidr[];
  readonly nodePrefixLength: { readonly ipv4: number; readonly ipv6: number };
}

export type NodeBlocks =
  /** One block per family, in the order in which the cluster CIDRs name the families. */
  | { readonly kind: "assigned"; readonly blocks: readonly Cidr[] }
  | {
      readonly kind: "exhausted";
      /** All of the family. */
      readonly clusterCidrs: readonly Cidr[];
      readonly prefixLength: number;
      /** How many blocks they have. */
      readonly size: bigint;
    };

/**
 * The first free block of each family. `taken`: what other nodes have and what is reserved, of any
 * size, also outside the cluster CIDRs.
 */
export function assignNodeBlocks(plan: BlockPlan, taken: readonly Cidr[]): NodeBlocks {
  const [result] = assignEachNode(plan, taken);
  if (result === undefined) throw new RangeError("Cannot divide a cluster without a CIDR");
  return result;
}

/** As {@link assignNodeBlocks}, for one node after the other, without end: each takes the next. */
export function* assignEachNode(plan: BlockPlan, taken: readonly Cidr[]): Generator<NodeBlocks> {
  const families = [...new Set(plan.clusterCidrs.map(familyOf))].map((family) => {
    const cidrs = plan.clusterCidrs.filter((cidr) => familyOf(cidr) === family);
    const prefixLength = plan.nodePrefixLength[`ipv${family}`];
    return { cidrs, prefixLength, free: freeBlocks(cidrs, prefixLength, taken) };
  });
  while (families.length > 0) {
    const blocks: Cidr[] = [];
    let exhausted: NodeBlocks | undefined;
    for (const { cidrs, prefixLength, free } of families) {
      const next = free.next();
      if (next.done === true) {
        const size = cidrs.reduce((sum, cidr) => sum + blockCount(cidr, prefixLength), 0n);
        exhausted ??= { kind: "exhausted", clusterCidrs: cidrs, prefixLength, size };
      } else blocks.push(next.value);
    }
    yield exhausted ?? { kind: "assigned", blocks };
  }
}

/** For the operator. */
export const describeExhaustion = ({
  clusterCidrs,
  prefixLength,
  size,
}: Extract<NodeBlocks, { kind: "exhausted" }>): string =>
  `No pod CIDR is left for a node: all ${size} blocks of /${prefixLength} ` +
  `in ${clusterCidrs.join(", ")} are taken`;

// In ascending order. The time grows with how much is taken, not with how large the CIDRs are.
function* freeBlocks(
  cidrs: readonly Cidr[],
  prefixLength: number,
  taken: readonly Cidr[],
): Generator<Cidr> {
  for (const cluster of cidrs) {
    const family = familyOf(cluster);
    const step = blockSize(cluster, prefixLength);
    const obstacles = taken
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
