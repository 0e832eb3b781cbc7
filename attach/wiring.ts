// What one attachment looks like in the kernel, calculated once: ADD turns it into changes (plan.ts),
// CHECK compares it with what is there, DEL removes it.
//
//   pod eth0 ── 10.244.1.7/32 ─────── veth ─────── flXXXXXXXXXXXX, no address ── node
//   default via 169.254.1.1 onlink                 10.244.1.7/32 scope link src <node>
//   neighbor 169.254.1.1 = host MAC                neighbor 10.244.1.7 = pod MAC
//
// IPv6 is the same with fe80::1 as the next hop. Nobody carries the next hop's address: the permanent
// neighbor entry answers for it, so neither end ever asks (no ARP, no neighbor discovery, no bridge).
import {
  type Cidr,
  type Family,
  type Ip,
  type Mac,
  cidrOf,
  familyOf,
  hostCidr,
  parseIp,
} from "../core/address.ts";
import { invariant } from "../core/assert.ts";
import type { Bandwidth } from "../core/cni/types.ts";
import { type PortMapping, isOfFamily } from "../core/port-mapping.ts";
import {
  type AttachmentKey,
  type IfName,
  attachmentMacs,
  attachmentMetric,
  hostInterfaceName,
  parseIfName,
  routeProtocol,
} from "../core/names.ts";
import {
  type InterfaceAddress,
  type Neighbor,
  type Route,
  type Shaping,
  localTable,
  mainTable,
  normalRoute,
} from "../core/network.ts";
import { shapingOf } from "./shaping.ts";

/** How an attachment is wired to its node: all that the plan is calculated from, beside its key. */
export interface Wiring {
  /** The pod's, one per range set; each is used as /32 or /128. */
  readonly addresses: readonly Ip[];
  /** What the pod reaches through its next hop; empty: everything. */
  readonly routes: readonly PodRoute[];
  /** The node's, at most one per family is used: preferred source towards the pod. */
  readonly nodeAddresses: readonly Ip[];
  /** Octets, at both ends. */
  readonly mtu: number;
  /** Where the runtime or a later plugin of the chain gave the pod another one than its key gives. */
  readonly podMac?: Mac;
  readonly hostIndex: number;
  readonly podIndex: number;
  readonly bandwidth?: Bandwidth;
  readonly portMappings?: readonly PortMapping[];
  /** Link alias of the host interface: `fairlead:<namespace>/<pod>`. */
  readonly alias?: string;
}

/** A route inside the pod. */
export interface PodRoute {
  readonly destination: Cidr;
  readonly metric?: number;
  readonly table?: number;
}

/** One end of the attachment as it is to be. */
export interface WiredEnd {
  readonly device: IfName;
  readonly index: number;
  readonly peerIndex: number;
  readonly mac: Mac;
  readonly addresses: readonly InterfaceAddress[];
  readonly routes: readonly Route[];
  readonly neighbors: readonly Neighbor[];
  /** Of what this end sends: the host's what comes to the pod, the pod's what it sends. */
  readonly shaping?: Shaping;
}

export interface WiredPair {
  readonly host: WiredEnd;
  readonly pod: WiredEnd;
}

/** The pod's only neighbor: link-local, the same for every pod of every node. */
export const nextHop: Readonly<Record<Family, Ip>> = {
  4: literalIp("169.254.1.1"),
  6: literalIp("fe80::1"),
};

/** What every runtime calls a pod's first interface. */
const firstInterface = "eth0";

/** The families of the addresses, each once, in their order. */
const familiesOf = (addresses: readonly Ip[]): readonly Family[] => [
  ...new Set(addresses.map(familyOf)),
];

/** Both ends as they are to be. Pure; `key.ifName` is a legal name, as the dispatcher checked. */
export function wire(key: AttachmentKey, wiring: Wiring): WiredPair {
  const known = wiredPairs.get(wiring);
  if (known?.key === key) return known.pair;
  const pair = calculate(key, wiring);
  wiredPairs.set(wiring, { key, pair });
  return pair;
}

// An ADD asks for its plan and again for its result.
const wiredPairs = new WeakMap<Wiring, { readonly key: AttachmentKey; readonly pair: WiredPair }>();

function calculate(key: AttachmentKey, wiring: Wiring): WiredPair {
  const macs = attachmentMacs(key);
  const podMac = wiring.podMac ?? macs.pod;
  const host = hostInterfaceName(key);
  const pod = podInterfaceName(key);
  const { addresses, hostIndex, podIndex, mtu } = wiring;
  const { ingress, egress } = wiring.bandwidth ?? {};
  return {
    host: {
      device: host,
      index: hostIndex,
      peerIndex: podIndex,
      mac: macs.host,
      addresses: [],
      routes: [
        ...addresses.map((address) => hostRoute(host, address, wiring.nodeAddresses)),
        ...(hasHostPorts(wiring, 6) ? [loopbackRoute(key)] : []),
      ],
      neighbors: addresses.map((address) => permanent(host, address, podMac)),
      ...(ingress && { shaping: shapingOf(host, ingress, mtu) }),
    },
    pod: {
      device: pod,
      index: podIndex,
      peerIndex: hostIndex,
      mac: podMac,
      addresses: addresses.map((address) => ({
        device: pod,
        address,
        prefixLength: familyOf(address) === 4 ? 32 : 128,
      })),
      routes: [
        ...addresses.filter((address) => familyOf(address) === 6).map((ip) => ownRoute(pod, ip)),
        ...podRoutes(key, wiring).map((route) => podRoute(pod, route)),
      ],
      neighbors: familiesOf(addresses).map((family) => permanent(pod, nextHop[family], macs.host)),
      ...(egress && { shaping: shapingOf(pod, egress, mtu) }),
    },
  };
}

/** Whether a port of the node leads to the pod in this family. */
export const hasHostPorts = (
  { addresses, portMappings = [] }: Pick<Wiring, "addresses" | "portMappings">,
  family: Family,
): boolean =>
  addresses.some((address) => familyOf(address) === family) &&
  portMappings.some((mapping) => isOfFamily(mapping, family));

function podInterfaceName(key: AttachmentKey): IfName {
  const name = parseIfName(key.ifName);
  invariant(name !== undefined, `"${key.ifName}" is an interface name`);
  return name;
}

/**
 * The routes that the pod gets: what IPAM asks for, in the families it has, else a default each. An
 * interface beside the first takes second place by a metric that no other has.
 */
export function podRoutes(
  key: AttachmentKey,
  { addresses, routes }: Pick<Wiring, "addresses" | "routes">,
): readonly PodRoute[] {
  const families = familiesOf(addresses);
  if (routes.length > 0) {
    return distinct(routes.filter(({ destination }) => families.includes(familyOf(destination))));
  }
  return families.map((family) => ({
    destination: cidrOf(nextHop[family], 0),
    ...(key.ifName !== firstInterface && { metric: attachmentMetric(key) }),
  }));
}

// All lead through the one next hop, so routes that differed in their gateways alone are the same.
function distinct(routes: readonly PodRoute[]): readonly PodRoute[] {
  const byKey = routes.map(
    (route) =>
      [`${route.destination} ${route.metric ?? 0} ${route.table || mainTable}`, route] as const,
  );
  return [...new Map(byKey).values()];
}

function hostRoute(device: IfName, address: Ip, nodeAddresses: readonly Ip[]): Route {
  const source = nodeAddresses.find((candidate) => familyOf(candidate) === familyOf(address));
  return normalRoute({
    ...routeDefaults,
    destination: hostCidr(address),
    device,
    ...(source !== undefined && { source }),
    scope: "link",
  });
}

function podRoute(device: IfName, { destination, metric, table }: PodRoute): Route {
  return normalRoute({
    ...routeDefaults,
    destination,
    device,
    gateway: nextHop[familyOf(destination)],
    onlink: true,
    ...(metric !== undefined && { metric }),
    ...(table !== undefined && { table }),
    scope: "global",
  });
}

// The kernel makes the same route for an IPv6 address, but in a work queue: packets that come before,
// for up to 70 ms where namespaces come and go, are refused.
const ownRoute = (device: IfName, address: Ip): Route =>
  normalRoute({
    ...routeDefaults,
    destination: hostCidr(address),
    device,
    table: localTable,
    type: "local",
    scope: "host",
  });

/**
 * IPv6 has no route_localnet. What a pod answers to a hostPort that was asked for at ::1 goes back to ::1
 * once its translation is undone, and the kernel takes that only from a device that has a route for it.
 * Where the node itself sends, the route over `lo` (metric 0) goes first.
 */
const loopbackRoute = (key: AttachmentKey): Route =>
  normalRoute({
    ...routeDefaults,
    destination: hostCidr(literalIp("::1")),
    device: hostInterfaceName(key),
    table: localTable,
    type: "local",
    metric: attachmentMetric(key),
    scope: "host",
  });

const routeDefaults = {
  metric: 0,
  table: mainTable,
  type: "unicast",
  protocol: routeProtocol,
} as const;

const permanent = (device: IfName, address: Ip, mac: Mac): Neighbor => ({
  device,
  address,
  mac,
  isPermanent: true,
});

function literalIp(text: string): Ip {
  const ip = parseIp(text);
  invariant(ip !== undefined, `"${text}" is an address`);
  return ip;
}
