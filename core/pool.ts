// Pools: named parts of the cluster's pod networks, from which certain pods get their addresses.
import { type Cidr, cidrContains } from "./address.ts";

/** On a Pod or a Namespace: the name of the pool. */
export const poolAnnotation = "fairlead.dev/pool";

/** The pool of `network.podCIDRs`: every block that lies in no other pool. */
export const defaultPool = "default";

export interface Pool {
  readonly name: string;
  /** The cluster's, of either family; disjoint from every other pool's. */
  readonly cidrs: readonly Cidr[];
}

/** A pool with what one node has of it. */
export interface NodePool {
  readonly name: string;
  readonly podCidrs: readonly Cidr[];
}

/** Each of the node's blocks in its pool: the default pool first, then the others in their order. */
export function nodePools(podCidrs: readonly Cidr[], pools: readonly Pool[]): readonly NodePool[] {
  const lies = (podCidr: Cidr, { cidrs }: Pool): boolean =>
    cidrs.some((cidr) => cidrContains(cidr, podCidr));
  const rest = podCidrs.filter((podCidr) => !pools.some((pool) => lies(podCidr, pool)));
  return [
    { name: defaultPool, podCidrs: rest },
    ...pools.map((pool) => ({
      name: pool.name,
      podCidrs: podCidrs.filter((podCidr) => lies(podCidr, pool)),
    })),
  ];
}
