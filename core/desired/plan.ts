// Everything that one node should be, from the cluster, the configuration and the machine's links.
import { type Cidr, hostCidr, type Ip } from "../address.ts";
import type { Member, Membership } from "../cluster/membership.ts";
import type { IfName } from "../names.ts";
import { type NftTable, joinTables } from "../nft.ts";
import type { StatusProblem } from "../status.ts";
import { hostPortTable } from "./host-ports.ts";
import { desireNftTable } from "./masquerade.ts";
import { type DesiredNode, emptyNode } from "./node-state.ts";
import {
  desireOverlay,
  type OverlaySettings,
  type PeerPath,
  serviceAddressRoutes,
} from "./overlay.ts";
import { chooseUnderlay, type LinkAddresses, type Underlay } from "./underlay.ts";

export interface PlanSettings extends OverlaySettings {
  readonly nodeName: string;
  readonly interface: "auto" | IfName;
  readonly masquerade: { readonly isEnabled: boolean; readonly except: readonly Cidr[] };
  /** Addresses on which the node answers queries; empty when it does not. */
  readonly dnsAddresses: readonly Ip[];
}

export interface NodePlan {
  readonly desired: DesiredNode;
  /** Absent while too little is known; then nothing that is there may be removed. */
  readonly local?: LocalPlan;
  /** Every node but this one, as settled. */
  readonly peers: readonly Member[];
  readonly paths: ReadonlyMap<string, PeerPath>;
  readonly problems: readonly StatusProblem[];
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
}

export function planNode(input: PlanInput): NodePlan {
  const { settings, membership, links, missingNodeHint, strays = [] } = input;
  const { nodeName } = settings;
  const member = membership.nodes.get(nodeName);
  const local = member && { ...member, strays };
  const peers = [...membership.nodes.values()].filter(({ name }) => name !== nodeName);
  const services = serviceAddressRoutes(settings.dnsAddresses);
  const cluster = membership.problems.map(({ message }): StatusProblem => ({
    area: "cluster",
    message,
  }));
  const stop = (...messages: readonly string[]): NodePlan => ({
    desired: { ...emptyNode, routes: services },
    peers,
    paths: new Map(),
    problems: [
      ...cluster,
      ...messages.map((message): StatusProblem => ({ area: "node", message })),
    ],
  });
  if (local === undefined) return stop(missingNodeHint);
  // Membership has said why.
  if (local.podCidrs.length === 0) return stop();
  const choice = chooseUnderlay(settings.interface, local.addresses, links);
  if (choice.kind === "missing") return stop(choice.problem);
  const { underlay } = choice;
  const overlay = desireOverlay({ settings, local, peers, underlay });
  const tunnel = { underlay: underlay.device, port: settings.port };
  const masquerade = desireNftTable({
    podCidrs: [...local.podCidrs, ...strays.map(hostCidr)],
    clusterCidrs: settings.podCidrs,
    ...settings.masquerade,
    ...(overlay.node.vxlan !== undefined && { tunnel }),
  });
  const table = joinTables(masquerade, hostPortTable(settings.dnsAddresses));
  return {
    desired: { ...overlay.node, routes: [...services, ...overlay.node.routes] },
    local: { node: local, underlay, mtu: overlay.mtu, table },
    peers,
    paths: overlay.paths,
    problems: [
      ...cluster,
      ...overlay.problems.map((message): StatusProblem => ({ area: "cluster", message })),
      ...strayProblems(local),
    ],
  };
}

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
