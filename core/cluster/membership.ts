// Which nodes of the cluster take part in the network, and which of their claims hold. The same on
// every node, because it depends on the snapshot alone.
import {
  type Cidr,
  cidrBase,
  cidrContains,
  cidrOf,
  cidrPrefixLength,
  type Ip,
} from "../address.ts";
import type { Node, Pod } from "./model.ts";
import { strayAddresses } from "./stray.ts";

export interface Membership {
  /** By name; with only the pod CIDRs and addresses that are theirs alone. */
  readonly nodes: ReadonlyMap<string, Member>;
  /** A claim that was refused, or that is missing: whose, which, and why. */
  readonly problems: readonly MembershipProblem[];
}

/** A node, settled. */
export interface Member extends Node {
  /** Addresses of its pods that are in no pod CIDR (core/cluster/stray); absent: none. */
  readonly strays?: readonly Ip[];
}

export interface MembershipProblem {
  readonly node: string;
  readonly message: string;
}

/**
 * Settles the nodes' claims. Of two nodes with overlapping pod CIDRs, or with the same address, the
 * older (creationTimestamp; none counts as newest) wins, then the one whose name sorts first.
 * @param clusterCidrs of all pools: a pod CIDR outside them is refused.
 */
export function settleMembership(
  nodes: Iterable<Node>,
  clusterCidrs: readonly Cidr[],
  pods: Iterable<Pod> = [],
): Membership {
  const problems: MembershipProblem[] = [];
  const report: Report = (node, message) => void problems.push({ node, message });
  const bySeniority = [...nodes].sort(compareSeniority);
  const podCidrs = settlePodCidrs(bySeniority, clusterCidrs, report);
  const addressOwners = new Map<Ip, string>();
  const settled = new Map<string, Member>();
  for (const node of bySeniority) {
    const addresses = node.addresses.filter((address) => {
      const owner = addressOwners.get(address);
      if (owner === undefined) addressOwners.set(address, node.name);
      else
        report(
          node.name,
          `Cannot use address ${address} of Node ${node.name}: it is Node ${owner}'s`,
        );
      return owner === undefined;
    });
    const own = podCidrs.get(node.name) ?? [];
    if (node.addresses.length === 0) {
      report(node.name, `Cannot reach Node ${node.name}: status.addresses has no InternalIP`);
    }
    if (node.podCidrs.length === 0) {
      report(node.name, `Cannot route to pods of Node ${node.name}: spec.podCIDRs is empty`);
    }
    settled.set(node.name, { ...node, addresses, podCidrs: own });
  }
  for (const [name, strays] of strayAddresses(pods, settled, clusterCidrs)) {
    const node = settled.get(name);
    if (node !== undefined) settled.set(name, { ...node, strays });
  }
  return { nodes: settled, problems };
}

function compareSeniority(a: Node, b: Node): number {
  const [ageA, ageB] = [a.createdAtMs ?? Infinity, b.createdAtMs ?? Infinity];
  if (ageA !== ageB) return ageA < ageB ? -1 : 1;
  return a.name < b.name ? -1 : 1;
}

type Report = (node: string, message: string) => void;

// Networks are nested or apart, so two overlap exactly when one of them is, cut to the other's length,
// the other. Only the lengths that occur need looking at: in practice one per family.
function settlePodCidrs(
  bySeniority: readonly Node[],
  clusterCidrs: readonly Cidr[],
  report: Report,
): ReadonlyMap<string, readonly Cidr[]> {
  const lengths = new Set(bySeniority.flatMap((node) => node.podCidrs.map(cidrPrefixLength)));
  /** Every granted network, and every larger one that contains a granted one → the owner's name. */
  const granted = new Map<Cidr, string>();
  const around = new Map<Cidr, string>();
  const result = new Map<string, readonly Cidr[]>();
  for (const { name, podCidrs } of bySeniority) {
    const own = podCidrs.filter((podCidr) => {
      const subject = `pod CIDR ${podCidr} of Node ${name}`;
      if (!clusterCidrs.some((clusterCidr) => cidrContains(clusterCidr, podCidr))) {
        report(name, `Cannot use ${subject}: expected one inside ${clusterCidrs.join(" or ")}`);
        return false;
      }
      const larger = largerNetworks(podCidr, lengths);
      const owner = [podCidr, ...larger]
        .map((cidr) => granted.get(cidr))
        .find((o) => o !== undefined);
      const loserTo = owner ?? around.get(podCidr);
      if (loserTo !== undefined) {
        const whose = loserTo === name ? "another of its own" : `that of the older Node ${loserTo}`;
        report(name, `Cannot use ${subject}: it overlaps ${whose}`);
        return false;
      }
      granted.set(podCidr, name);
      for (const cidr of larger) around.set(cidr, name);
      return true;
    });
    result.set(name, own);
  }
  return result;
}

const largerNetworks = (cidr: Cidr, lengths: ReadonlySet<number>): readonly Cidr[] =>
  [...lengths]
    .filter((length) => length < cidrPrefixLength(cidr))
    .map((length) => cidrOf(cidrBase(cidr), length));
