// The lab's underlay, calculated from the cluster's Node objects:
//
//   node-a ─┐ link 1             link 2 ┌─ node-c
//           ├─ 172.30.1.0/24 ─ router ──┤  172.30.2.0/24
//   node-b ─┘                     │     └─ …
//                          203.0.113.0/24
//                                 │
//                              outside      an HTTP echo and a DNS server; no route to any pod
import {
  type Cidr,
  cidrAt,
  cidrOf,
  cidrPrefixLength,
  cidrsOverlap,
  type Ip,
  isIpv4,
  parseCidr,
} from "../../core/address.ts";
import { invariant } from "../../core/assert.ts";
import type { Node } from "../../core/cluster/model.ts";
import { ConfigError } from "../../core/error.ts";
import { nodesMax } from "./arguments.ts";

/** One broadcast domain of the underlay; the router has its first address. */
export interface LabLink {
  /** The router's bridge. */
  readonly bridge: string;
  readonly cidr: Cidr;
  readonly router: Ip;
}

export interface LabNode {
  readonly name: string;
  readonly address: Ip;
  /** Index into `links`. */
  readonly link: number;
  /** The router's end of the node's cable: where a capture sees what this node sends. */
  readonly port: string;
}

export interface Topology {
  readonly links: readonly LabLink[];
  readonly nodes: readonly LabNode[];
  /** The world beyond the cluster. */
  readonly outside: LabLink & { readonly address: Ip };
}

/** The members that every lab has besides its nodes. */
export const worldNames: readonly string[] = ["router", "outside"];
/** Every node's interface to its link. */
export const nodeInterface = "eth0";
/** What the outside's DNS server knows. */
export const outsideName = "outside.example";

// RFC 5737: addresses for documentation, so that no real network is hidden by the lab's.
const outsideCidr = literalCidr("203.0.113.0/24");
const linkPrefixLength = 24;

/** Nodes whose addresses are in one /24 share a link. Throws ConfigError naming the node that cannot be placed. */
export function planTopology(nodes: readonly Node[]): Topology {
  if (nodes.length === 0 || nodes.length > nodesMax) {
    throw new ConfigError(
      "cluster",
      `Cannot lay out ${nodes.length} nodes: a lab has 1 to ${nodesMax}`,
    );
  }
  const links: LabLink[] = [];
  const placed = nodes.map((node, index): LabNode => {
    if (worldNames.includes(node.name)) {
      throw new ConfigError(
        `Node ${node.name}`,
        "Cannot use this name: the lab has a member of it",
      );
    }
    const address = node.addresses.find(isIpv4);
    if (address === undefined) {
      throw new ConfigError(
        `Node ${node.name}`,
        "No IPv4 InternalIP address: a lab node needs one",
      );
    }
    const cidr = cidrOf(address, linkPrefixLength);
    const router = cidrAt(cidr, 1n);
    if (address === router) {
      throw new ConfigError(`Node ${node.name}`, `Cannot use ${address}: it is the router's`);
    }
    if (cidrsOverlap(cidr, outsideCidr)) {
      throw new ConfigError(
        `Node ${node.name}`,
        `Cannot use ${address}: ${outsideCidr} is outside`,
      );
    }
    let link = links.findIndex((known) => known.cidr === cidr);
    if (link < 0) link = links.push({ bridge: `link${links.length + 1}`, cidr, router }) - 1;
    return { name: node.name, address, link, port: `port${index + 1}` };
  });
  return {
    links,
    nodes: placed,
    outside: {
      bridge: "outside",
      cidr: outsideCidr,
      router: cidrAt(outsideCidr, 1n),
      address: cidrAt(outsideCidr, 10n),
    },
  };
}

/** The link a node is on. */
export function linkOf(topology: Topology, node: LabNode): LabLink {
  const link = topology.links[node.link];
  invariant(link !== undefined, `node ${node.name} has a link`);
  return link;
}

/** `address/prefix` of an address on a link. */
const onLink = (address: Ip, link: LabLink): string => `${address}/${cidrPrefixLength(link.cidr)}`;

/** What `ip link … netns` takes for a member's namespace: a pid, or a path. */
export type NetnsOf = (member: string) => string;

/** `ip -batch` lines for the router: bridges, and the cables into every other namespace. */
export function routerCommands(topology: Topology, netnsOf: NetnsOf): string[] {
  const bridge = (link: LabLink): string[] => [
    `link add ${link.bridge} type bridge`,
    `address add ${onLink(link.router, link)} dev ${link.bridge}`,
    `link set ${link.bridge} up`,
  ];
  const cable = (port: string, member: string, link: LabLink): string[] => [
    `link add ${port} type veth peer name ${nodeInterface} netns ${netnsOf(member)}`,
    `link set ${port} master ${link.bridge} up`,
  ];
  return [
    ...topology.links.flatMap(bridge),
    ...topology.nodes.flatMap((node) => cable(node.port, node.name, linkOf(topology, node))),
    ...bridge(topology.outside),
    ...cable("port-outside", "outside", topology.outside),
  ];
}

/** `ip -batch` lines for a node: its address, and the rest of the world through the router. */
export function nodeCommands(topology: Topology, node: LabNode): string[] {
  const link = linkOf(topology, node);
  return [
    `address add ${onLink(node.address, link)} dev ${nodeInterface}`,
    `link set ${nodeInterface} up`,
    `route add default via ${link.router}`,
  ];
}

/**
 * `ip -batch` lines for the outside: routes to the links alone, so that it can answer a node and
 * cannot answer a pod: what reaches it and comes back was masqueraded.
 */
export function outsideCommands({ links, outside }: Topology): string[] {
  return [
    `address add ${onLink(outside.address, outside)} dev ${nodeInterface}`,
    `link set ${nodeInterface} up`,
    ...links.map((link) => `route add ${link.cidr} via ${outside.router}`),
  ];
}

function literalCidr(text: string): Cidr {
  const cidr = parseCidr(text);
  invariant(cidr !== undefined, `${text} is a network`);
  return cidr;
}
