// What one attachment looks like in the kernel, calculated once: ADD turns it into changes, CHECK
// compares it with what is there, DEL removes it.
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
  type Change,
  type InterfaceAddress,
  type Neighbor,
  type Route,
  localTable,
  mainTable,
  normalRoute,
} from "../core/network.ts";

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
  readonly hostIndex: number;
  readonly podIndex: number;
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
}

export interface WiredPair {
  readonly host: WiredEnd;
  readonly pod: WiredEnd;
}

/** Two ordered batches: one for the node's socket, one for the sandbox's. */
export interface AddPlan {
  readonly host: readonly Change[];
  readonly sandbox: readonly Change[];
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
  const macs = attachmentMacs(key);
  const host = hostInterfaceName(key);
  const pod = podInterfaceName(key);
  const { addresses, hostIndex, podIndex } = wiring;
  return {
    host: {
      device: host,
      index: hostIndex,
      peerIndex: podIndex,
      mac: macs.host,
      addresses: [],
      routes: addresses.map((address) => hostRoute(host, address, wiring.nodeAddresses)),
      neighbors: addresses.map((address) => permanent(host, address, macs.pod)),
    },
    pod: {
      device: pod,
      index: podIndex,
      peerIndex: hostIndex,
      mac: macs.pod,
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
    },
  };
}

/**
 * ADD as two batches. Order matters in both: the kernel takes a route only over a device that is up,
 * and `linkLocal` before up keeps the pod without an address of its own making. The on-link next hop
 * needs the sandbox's local table, which the address before it makes even where `lo` is down.
 *
 * rp_filter 1 on the host interface admits only sources that the routing table sends back to it: the
 * pod's own addresses. No forged IPv4 source leaves a pod.
 */
export function planAdd(key: AttachmentKey, wiring: Wiring, sandboxFd: number): AddPlan {
  const { host, pod } = wire(key, wiring);
  return {
    host: [
      {
        kind: "add-veth",
        host: { name: host.device, index: host.index, mac: host.mac },
        pod: { name: pod.device, index: pod.index, mac: pod.mac },
        sandboxFd,
        mtu: wiring.mtu,
        ...(wiring.alias !== undefined && { alias: wiring.alias }),
      },
      {
        kind: "set-link",
        device: host.device,
        settings: { rpFilter: 1, linkLocal: false },
      },
      { kind: "set-link", device: host.device, settings: { isUp: true } },
      ...contents(host),
    ],
    sandbox: [
      { kind: "set-link", device: pod.device, index: pod.index, settings: { linkLocal: false } },
      { kind: "set-link", device: pod.device, settings: { isUp: true } },
      ...contents(pod),
    ],
  };
}

/**
 * What ends a pod's traffic at once, in one batch: its routes, then its interface down. The interface
 * itself is removed afterwards, with others (Kernel.reap). Without the wiring the routes go with the
 * interface, as the kernel withdraws what leads over a device that is down.
 */
export function planDel(key: AttachmentKey, wiring: Wiring | undefined): readonly Change[] {
  const device = hostInterfaceName(key);
  const routes = wiring === undefined ? [] : wire(key, wiring).host.routes;
  return [
    ...routes.map((route): Change => ({ kind: "remove-route", route })),
    { kind: "set-link", device, settings: { isUp: false } },
  ];
}

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

const contents = (end: WiredEnd): readonly Change[] => [
  ...end.addresses.map((address): Change => ({ kind: "add-address", address })),
  // add, not replace: a route to this address that is not ours belongs to somebody, and stays.
  ...end.routes.map((route): Change => ({ kind: "add-route", route })),
  ...end.neighbors.map((neighbor): Change => ({ kind: "replace-neighbor", neighbor })),
];

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
