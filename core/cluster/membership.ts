// Which nodes of the cluster take part in the network, and which of their claims hold. The same on
// every node, because it depends on the snapshot alone.
import {
  type Cidr,
  type Family,
  cidrBase,
  cidrContains,
  cidrOf,
  cidrPrefixLength,
  familyOf,
  type Ip,
} from "../address.ts";
import { Claims } from "./claims.ts";
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
 * older (creationTimestamp; none counts as newest) wins, then the one whose name sorts first. A pod CIDR
 * with a node's address in it is nobody's: a pod's route would cut that node off.
 * @param clusterCidrs of all pools: a pod CIDR outside them is refused.
 */
export const settleMembership = (
  nodes: Iterable<Node>,
  clusterCidrs: readonly Cidr[],
  pods: Iterable<Pod> = [],
): Membership =>
  membershipSettler(clusterCidrs)(new Map(Array.from(nodes, (node) => [node.name, node])), pods);

/** @param nodes by name. */
export type SettleMembership = (
  nodes: ReadonlyMap<string, Node>,
  pods: Iterable<Pod>,
) => Membership;

/**
 * {@link settleMembership} for one cluster again and again. A node whose claims nobody contests is
 * judged once, and is the same object every time as long as the source gives the same one.
 */
export function membershipSettler(clusterCidrs: readonly Cidr[]): SettleMembership {
  const claims = new Claims(clusterCidrs);
  /** Those of which something is to be said even where nobody else claims what is theirs. */
  const notable = new Map<string, Judged>();
  return (nodes, pods) => {
    const { gone, come } = claims.follow(nodes);
    for (const { name } of gone) notable.delete(name);
    for (const node of come) {
      const judged = judgeAlone(node, clusterCidrs);
      if (judged !== undefined) notable.set(node.name, judged);
    }
    const { settled, problems } = isContested(claims, nodes)
      ? settleContested([...nodes.values()], clusterCidrs)
      : settleAlone(nodes, notable);
    const strays = strayAddresses(pods, settled, clusterCidrs);
    return { nodes: withStrays(settled, strays), problems: problems.toSorted(byNode) };
  };
}

function withStrays(
  settled: ReadonlyMap<string, Member>,
  strays: ReadonlyMap<string, readonly Ip[]>,
): ReadonlyMap<string, Member> {
  if (strays.size === 0) return settled;
  const all = new Map(settled);
  for (const [name, addresses] of strays) {
    const node = all.get(name);
    if (node !== undefined) all.set(name, { ...node, strays: addresses });
  }
  return all;
}

interface Settled {
  readonly settled: ReadonlyMap<string, Member>;
  readonly problems: readonly MembershipProblem[];
}

/** A node as it is where nobody else claims what is its own. */
interface Judged {
  readonly member: Member;
  readonly problems: readonly MembershipProblem[];
}

/** Undefined where it is as the source has it, and nothing is to be said of it. */
function judgeAlone(node: Node, clusterCidrs: readonly Cidr[]): Judged | undefined {
  const { addresses, podCidrs } = node;
  const podCidr = podCidrs.length === 1 ? podCidrs[0] : undefined;
  const isPlain =
    podCidr !== undefined &&
    addresses.length > 0 &&
    clusterCidrs.some((clusterCidr) => cidrContains(clusterCidr, podCidr)) &&
    !addresses.some((address) => cidrContains(podCidr, address));
  if (isPlain) return undefined;
  const { settled, problems } = settleContested([node], clusterCidrs);
  const member = settled.get(node.name) ?? node;
  const isWhole =
    member.addresses.length === node.addresses.length &&
    member.podCidrs.length === node.podCidrs.length;
  return isWhole && problems.length === 0
    ? undefined
    : { member: isWhole ? node : member, problems };
}

function settleAlone(
  nodes: ReadonlyMap<string, Node>,
  notable: ReadonlyMap<string, Judged>,
): Settled {
  if (notable.size === 0) return { settled: nodes, problems: [] };
  const settled = new Map<string, Member>(nodes);
  for (const [name, { member }] of notable) settled.set(name, member);
  return { settled, problems: [...notable.values()].flatMap(({ problems }) => problems) };
}

const byNode = (a: MembershipProblem, b: MembershipProblem): number =>
  a.node === b.node ? 0 : a.node < b.node ? -1 : 1;

/** True when two nodes claim the same address, or overlapping pod CIDRs, one in the other, or may do so. */
function isContested(claims: Claims, nodes: ReadonlyMap<string, Node>): boolean {
  if (claims.hasRepeated || claims.hasAddressAmongPods) return true;
  const { lengths } = claims;
  // Networks of one length, which are others, do not overlap.
  if (lengths[4].size < 2 && lengths[6].size < 2) return false;
  return nodes
    .values()
    .some(({ podCidrs }) =>
      podCidrs.some((podCidr) =>
        largerNetworks(podCidr, lengths).some((larger) => claims.has(larger)),
      ),
    );
}

type Lengths = Readonly<Record<Family, ReadonlySet<number>>>;

/** The prefix lengths of all pod CIDRs: in practice one per family. */
function lengthsOf(nodes: readonly Node[]): Lengths {
  const lengths = { 4: new Set<number>(), 6: new Set<number>() };
  for (const { podCidrs } of nodes) {
    for (const podCidr of podCidrs) lengths[familyOf(podCidr)].add(cidrPrefixLength(podCidr));
  }
  return lengths;
}

function settleContested(nodes: readonly Node[], clusterCidrs: readonly Cidr[]): Settled {
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
  return { settled, problems };
}

function compareSeniority(a: Node, b: Node): number {
  const [ageA, ageB] = [a.createdAtMs ?? Infinity, b.createdAtMs ?? Infinity];
  if (ageA !== ageB) return ageA < ageB ? -1 : 1;
  return a.name < b.name ? -1 : 1;
}

type Report = (node: string, message: string) => void;

// Networks are nested or apart, so two overlap exactly when one of them is, cut to the other's length,
// the other. Only the lengths that occur need looking at.
function settlePodCidrs(
  bySeniority: readonly Node[],
  clusterCidrs: readonly Cidr[],
  report: Report,
): ReadonlyMap<string, readonly Cidr[]> {
  const lengths = lengthsOf(bySeniority);
  const nodeAddresses = networksAround(bySeniority, lengths);
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
      const inside = nodeAddresses.get(podCidr);
      if (inside !== undefined) {
        report(
          name,
          `Cannot use ${subject}: ${inside.address} in it is the address of Node ${inside.name}`,
        );
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

/** Every network, of the lengths that pod CIDRs have, with a node's address in it: the first one's. */
function networksAround(
  nodes: readonly Node[],
  lengths: Lengths,
): ReadonlyMap<Cidr, { readonly name: string; readonly address: Ip }> {
  const around = new Map<Cidr, { readonly name: string; readonly address: Ip }>();
  for (const { name, addresses } of nodes) {
    for (const address of addresses) {
      for (const length of lengths[familyOf(address)]) {
        const cidr = cidrOf(address, length);
        if (!around.has(cidr)) around.set(cidr, { name, address });
      }
    }
  }
  return around;
}

function largerNetworks(cidr: Cidr, lengths: Lengths): readonly Cidr[] {
  const length = cidrPrefixLength(cidr);
  const larger: Cidr[] = [];
  for (const other of lengths[familyOf(cidr)]) {
    if (other < length) larger.push(cidrOf(cidrBase(cidr), other));
  }
  return larger;
}
