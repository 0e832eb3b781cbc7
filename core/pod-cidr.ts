// How a node's pod CIDR is divided, and where it lies in the cluster CIDR. One place, because peers
// calculate it too.
import {
  type Cidr,
  type Ip,
  cidrBase,
  cidrContains,
  cidrPrefixLength,
  familyOf,
  ipToBigInt,
  ipv4ToNumber,
} from "./address.ts";

/**
 * The address of `fl-vxlan` on the node with this pod CIDR: the network address, as flannel has it.
 * It is never a pod's, because a range starts after it.
 */
export const vtepAddress = (podCidr: Cidr): Ip => cidrBase(podCidr);

// The largest index such that 1 + index is still a route metric (RTA_PRIORITY, 32 bits).
const lastIndex = 0xffff_fffen;

/**
 * Which block of the cluster CIDR this one is, counted in blocks of its own size from 0: distinct
 * for every block of one size. Undefined outside the cluster CIDR, or beyond what a route metric holds.
 */
export function blockIndex(clusterCidr: Cidr, podCidr: Cidr): number | undefined {
  if (!cidrContains(clusterCidr, podCidr)) return undefined;
  if (familyOf(podCidr) === 4) {
    // Not by BigInt: every peer's route has one.
    const offset = ipv4ToNumber(podCidr) - ipv4ToNumber(clusterCidr);
    const index = Math.floor(offset / 2 ** (32 - cidrPrefixLength(podCidr)));
    return index > lastIndex ? undefined : index;
  }
  const hostBits = 128 - cidrPrefixLength(podCidr);
  const offset = ipToBigInt(cidrBase(podCidr)) - ipToBigInt(cidrBase(clusterCidr));
  const index = offset >> BigInt(hostBits);
  return index > lastIndex ? undefined : Number(index);
}
