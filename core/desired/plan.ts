// Everything that one node should be, from the cluster, the configuration and the machine's links.
import { type Cidr, cidrsOverlap, hostCidr, type Ip } from "../address.ts";
import type { Member, Membership } from "../cluster/membership.ts";
import type { IfName } from "../names.ts";
import { type NftTable, joinTables } from "../nft.ts";
import type { StatusProblem } from "../status.ts";
import { dnsAheadTable, dnsElsewhereTable } from "./dns-ahead.ts";
import { hostPortTable } from "./host-ports.ts";
import { desireNftTable } from "./masquerade.ts";
import { type DesiredNode, emptyNode, joinDesired } from "./node-state.ts";
import {
  desireOverlay,
  type OverlaySettings,
  type PeerDifference,
  type PeerPlan,
  serviceAddressRoutes,
  unplannedPeer,
} from "./overlay.ts";
import { chooseUnderlay, isSameUnderlay, type LinkAddresses, type Underlay } from "./underlay.ts";

export interface PlanSettings extends OverlaySettings {
  readonly nodeName: string;
  readonly interface: "auto" | IfName;
  readonly masquerade: { readonly isEnabled: boolean; readonly except: readonly Cidr[] };
  /** Addresses on which the node answers queries; empty when it does not. */
  readonly dnsAddresses: readonly Ip[];
  /** Queries go to these addresses here while they are answered, whatever else has rules for them. */
  readonly isDnsAhead: boolean;
}

export interface NodePlan {
  /** All that reaches no peer. */
  readonly own: DesiredNode;
  /** Absent while too little is known; then nothing that is there may be removed. */
  readonly local?: LocalPlan;
  /** What `own` and `local` were made of, besides the settings. */
  readonly basis?: PlanBasis;
  /** Every node but this one, by name. */
  readonly peers: ReadonlyMap<string, PeerPlan>;
  readonly problems: readonly StatusProblem[];
  /** Some peers are left out, for the next call; and so are problems. */
  readonly isPartial?: true;
  /** Stands for the plan where it is the one that another was made from. */
  readonly mark: object;
  /** From the plan with this mark to this one, where both have the same basis. */
  readonly difference?: PeerDifference & { readonly from: object };
  /** The cluster has this node, and no pod CIDR for it. */
  readonly isBlockless?: true;
}

/** What the node's kernel is to hold, in one piece. */
export const desiredOf = ({ own, peers }: NodePlan): DesiredNode =>
  joinDesired(own, peers.values());

export interface PlanBasis {
  readonly member: Member;
  readonly nodes: ReadonlyMap<string, Member>;
  readonly underlay: Underlay;
  readonly strays: readonly Ip[];
}

/** What is known once the cluster has this node and its underlay is found. */
export interface LocalPlan {
  readonly node: Member;
  readonly underlay: Underlay;
  /** Octets, of pod interfaces. */
  readonly mtu: number;
  readonly table: NftTable;
}

export interface PlanInput {
  readonly settings: PlanSettings;
  readonly membership: Membership;
  readonly links: readonly LinkAddresses[];
  /** What to do about a node that the cluster does not have: a sentence of the source. */
  readonly missingNodeHint: string;
  /** Addresses of this node's pods outside its pod CIDRs. */
  readonly strays?: readonly Ip[];
  /** More peers that are not planned yet are left out; absent: all are planned. */
  readonly newPeersAtMost?: number;
}

/**
 * @param before a plan of the same settings. Where this node and its links are the same objects as then,
 * so is what does not depend on peers, and only peers that are others are planned.
 */
export function planNode(input: PlanInput, before?: NodePlan): NodePlan {
  const { settings, membership, links, missingNodeHint, strays = none } = input;
  const { newPeersAtMost = Infinity } = input;
  const { nodeName } = settings;
  const member = membership.nodes.get(nodeName);
  const services = serviceAddressRoutes(settings.dnsAddresses);
  const stop = (...messages: readonly string[]): NodePlan => ({
    own: { ...emptyNode, routes: services },
    mark: {},
    peers: unplannedPeers(membership, nodeName),
    problems: [...clusterProblems(membership), ...inArea("node", messages)],
  });
  if (member === undefined) return stop(missingNodeHint);
  // Membership has said why.
  if (member.podCidrs.length === 0) return { ...stop(), isBlockless: true };
  const choice = chooseUnderlay(settings.interface, member.addresses, links);
  if (choice.kind === "missing") return stop(choice.problem);
  const { underlay } = choice;
  const local = { ...member, strays };
  const basis: PlanBasis = { member, nodes: membership.nodes, underlay, strays };
  const known =
    before?.basis !== undefined && isSameBasis(before.basis, basis) ? before : undefined;
  // A cluster in parts is the same map until all of it is planned.
  const isGoingOn = known?.isPartial === true && known.basis?.nodes === membership.nodes;
  const overlay = desireOverlay(
    { settings, local, peers: membership.nodes.values(), underlay, newPeersAtMost, isGoingOn },
    known?.peers,
  );
  const { peers, mtu, isPartial } = overlay;
  const own = { ...overlay.own, routes: [...services, ...overlay.own.routes] };
  const table = known?.local?.table ?? tableOf(settings, local, underlay, own.vxlan !== undefined);
  return {
    own: known?.own ?? own,
    local: known?.local ?? { node: local, underlay, mtu, table },
    basis,
    mark: {},
    ...(known !== undefined && { difference: { ...overlay.difference, from: known.mark } }),
    peers,
    ...(isPartial && { isPartial }),
    problems: isPartial
      ? []
      : [
          ...clusterProblems(membership),
          ...inArea("cluster", overlay.problems),
          ...inArea("cluster", peerProblems(peers)),
          ...strayProblems(local),
          ...linkProblems(local, underlay),
        ],
  };
}

const none: readonly Ip[] = [];

function unplannedPeers({ nodes }: Membership, local: string): ReadonlyMap<string, PeerPlan> {
  const peers = new Map<string, PeerPlan>();
  for (const node of nodes.values()) {
    if (node.name !== local) peers.set(node.name, unplannedPeer(node));
  }
  return peers;
}

function peerProblems(peers: ReadonlyMap<string, PeerPlan>): readonly string[] {
  const found: string[] = [];
  for (const { problems } of peers.values()) if (problems.length > 0) found.push(...problems);
  return found;
}

const isSameBasis = (a: PlanBasis, b: PlanBasis): boolean =>
  a.member === b.member && isSameUnderlay(a.underlay, b.underlay) && a.strays === b.strays;

const inArea = (
  area: StatusProblem["area"],
  messages: readonly string[],
): readonly StatusProblem[] => messages.map((message) => ({ area, message }));

const clusterProblems = ({ problems }: Membership): readonly StatusProblem[] =>
  inArea(
    "cluster",
    problems.map(({ message }) => message),
  );

function tableOf(
  settings: PlanSettings,
  { podCidrs, strays = [] }: Member,
  underlay: Underlay,
  hasTunnel: boolean,
): NftTable {
  const tunnel = { underlay: underlay.device, index: underlay.index, port: settings.port };
  const masquerade = desireNftTable({
    podCidrs: [...podCidrs, ...strays.map(hostCidr)],
    clusterCidrs: settings.podCidrs,
    ...settings.masquerade,
    ...(hasTunnel && { tunnel }),
  });
  const { dnsAddresses, isDnsAhead } = settings;
  const table = joinTables(masquerade, hostPortTable(dnsAddresses));
  if (dnsAddresses.length === 0) return table;
  const toOthers = joinTables(table, dnsElsewhereTable(dnsAddresses));
  return isDnsAhead ? joinTables(toOthers, dnsAheadTable) : toOthers;
}

/** What a pod has cannot be a machine's on the link: whoever is there under such an address is cut off. */
const linkProblems = (
  { podCidrs }: Member,
  { device, networks }: Underlay,
): readonly StatusProblem[] =>
  podCidrs.flatMap((podCidr) => {
    const network = networks.find((one) => cidrsOverlap(one, podCidr));
    if (network === undefined) return [];
    const message =
      `Pod CIDR ${podCidr} of this node overlaps the network ${network} of its interface ` +
      `"${device}": pods do not reach machines there under such addresses; expected one apart from it`;
    return [{ area: "node", message }];
  });

const namedStrays = 5;

function strayProblems({ podCidrs, strays = [] }: Member): readonly StatusProblem[] {
  if (strays.length === 0) return [];
  const more = strays.length > namedStrays ? ` and ${strays.length - namedStrays} more` : "";
  const message =
    `Pods of this node have addresses outside its pod CIDRs ${podCidrs.join(", ")}: ` +
    `${strays.slice(0, namedStrays).join(", ")}${more}; they stay reachable, so give their block ` +
    `to no other node before they have ended`;
  return [{ area: "node", message }];
}
