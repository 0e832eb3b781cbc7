// Pods whose addresses are in none of their node's pod CIDRs: what is left when a block is taken from a
// node while pods still live in it. They are routed one by one until they are gone.
import { type Cidr, cidrContains, type Ip } from "../address.ts";
import type { Node, Pod } from "./model.ts";

/** Those of `addresses` that are the cluster's and in none of a node's pod CIDRs. */
export const outsideOf = (
  addresses: readonly Ip[],
  podCidrs: readonly Cidr[],
  clusterCidrs: readonly Cidr[],
): readonly Ip[] =>
  addresses.filter((address) => !isInside(podCidrs, address) && isInside(clusterCidrs, address));

/**
 * By the name of the node. Only what no other node's pod CIDR contains: the object of such a pod may be
 * older than the block's new owner.
 * @param nodes as settled.
 */
export function strayAddresses(
  pods: Iterable<Pod>,
  nodes: ReadonlyMap<string, Node>,
  clusterCidrs: readonly Cidr[],
): ReadonlyMap<string, readonly Ip[]> {
  const strays = new Map<string, readonly Ip[]>();
  for (const pod of pods) {
    if (pod.isHostNetwork || pod.nodeName === undefined) continue;
    const node = nodes.get(pod.nodeName);
    if (node === undefined) continue;
    const outside = outsideOwnNode(pod, node, clusterCidrs).filter(
      (address) => ![...nodes.values()].some(({ podCidrs }) => isInside(podCidrs, address)),
    );
    if (outside.length > 0) strays.set(node.name, [...(strays.get(node.name) ?? []), ...outside]);
  }
  return strays;
}

// Of 100,000 pods nearly all are as they were at the last change of the cluster.
const judged = new WeakMap<
  Pod,
  { readonly of: readonly Cidr[]; readonly outside: readonly Ip[] }
>();

function outsideOwnNode(pod: Pod, node: Node, clusterCidrs: readonly Cidr[]): readonly Ip[] {
  const known = judged.get(pod);
  if (known !== undefined && isSame(known.of, node.podCidrs)) return known.outside;
  const outside = outsideOf(pod.ips, node.podCidrs, clusterCidrs);
  judged.set(pod, { of: node.podCidrs, outside });
  return outside;
}

const isSame = (a: readonly Cidr[], b: readonly Cidr[]): boolean =>
  a === b || (a.length === b.length && a.every((cidr, i) => cidr === b[i]));

const isInside = (cidrs: readonly Cidr[], address: Ip): boolean =>
  cidrs.some((cidr) => cidrContains(cidr, address));
