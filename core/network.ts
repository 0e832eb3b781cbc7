// The Linux network objects that fairlead observes and changes: one vocabulary for the pure
// calculation (attach/wiring, core/desired), the kernel module and its fake.
import { type Cidr, type Ip, type Mac, familyOf } from "./address.ts";
import { assertNever } from "./assert.ts";
import type { AlteredOption } from "./device-option.ts";
import { type IfName, loopbackDevice } from "./names.ts";

/** A network interface as the kernel reports it. */
export interface Link {
  readonly index: number;
  readonly name: IfName;
  /** `veth`, `vxlan`, `bridge` …; absent for a physical device. */
  readonly type?: string;
  readonly mac?: Mac;
  /** Octets. */
  readonly mtu: number;
  /** Administratively up (IFF_UP). */
  readonly isUp: boolean;
  readonly alias?: string;
  /** Link group; 0 is the kernel's default. */
  readonly group: number;
  /** The interface index this one is tied to: a veth's peer, a VXLAN's underlay device. */
  readonly linkIndex?: number;
  readonly vxlan?: VxlanParameters;
  /** Of a VXLAN device: what else somebody has set on it; absent: nothing. */
  readonly altered?: readonly AlteredOption[];
}

/** Octets of a link's alias: the kernel's IFALIASZ, less one. */
const longestAlias = 255;

/** The alias as the kernel keeps it: what is too long is cut, for it only tells who a link is for. */
export function linkAlias(text: string): string {
  const octets = Buffer.from(text);
  if (octets.length <= longestAlias) return text;
  let end = longestAlias;
  // Not within a character: the octets that continue one start with the bits 10 (RFC 3629).
  while (((octets[end] ?? 0) & 0xc0) === 0x80) end--;
  return octets.toString("utf8", 0, end);
}

export interface VxlanParameters {
  readonly vni: number;
  /** UDP destination port. */
  readonly port: number;
  /** Source address of the outer packets. */
  readonly local?: Ip;
  /** Interface index of the underlay device. */
  readonly underlayIndex?: number;
  readonly learning: boolean;
}

/** An address on an interface. */
export interface InterfaceAddress {
  readonly device: IfName;
  readonly address: Ip;
  readonly prefixLength: number;
}

/** From `prohibit` on they are others' doing. */
export type RouteType =
  | "unicast"
  | "local"
  | "blackhole"
  | "unreachable"
  | "prohibit"
  | "throw"
  | "broadcast"
  | "anycast"
  | "multicast";
export type RouteScope = "global" | "link" | "host";

export const mainTable = 254;
export const localTable = 255;

export interface Route {
  readonly destination: Cidr;
  /** IPv4: for packets of this DSCP alone, in the place of the former type of service. No route of ours has it. */
  readonly typeOfService?: number;
  /** IPv6: for packets from these addresses alone. No route of ours has it. */
  readonly from?: Cidr;
  readonly device: IfName;
  readonly gateway?: Ip;
  /** The gateway is reached on `device` though no route says so. */
  readonly onlink?: boolean;
  /** Preferred source of packets that this node sends. */
  readonly source?: Ip;
  /** RTA_PRIORITY; 0 leaves it to the kernel, which means 1024 for IPv6. */
  readonly metric: number;
  readonly table: number;
  readonly type: RouteType;
  /** IPv6 routes have none in the kernel: see {@link normalRoute}. */
  readonly scope: RouteScope;
  /** Who installed it: rtm_protocol. Ours is `routeProtocol`. */
  readonly protocol: number;
  /**
   * Of one that was found: it has what no route of ours has, such as an MTU, several next hops (then `device` is
   * the first one's), a nexthop object, or a scope that has no name here. None is made so.
   */
  readonly isAltered?: true;
}

/**
 * The route in the form in which the kernel's are observed, so that what was asked for compares equal
 * with what is there: an IPv6 metric of 1024 is 0, the scope of an IPv6 route follows from its type
 * and gateway, table 0 (RT_TABLE_UNSPEC) is the main one, the device of a blackhole is `lo`, and
 * `onlink` is either true or absent.
 */
export function normalRoute(route: Route): Route {
  const isIpv6 = familyOf(route.destination) === 6;
  const device = isDiscarding(route.type) ? loopbackDevice : route.device;
  const table = route.table === 0 ? mainTable : route.table;
  const metric = isIpv6 && route.metric === ipv6DefaultMetric ? 0 : route.metric;
  const scope = isIpv6 ? ipv6Scope(route) : route.scope;
  const isNormal =
    route.onlink !== false &&
    device === route.device &&
    table === route.table &&
    metric === route.metric &&
    scope === route.scope;
  // As most of a cluster's thousands are.
  if (isNormal) return route;
  const { onlink, ...rest } = route;
  return { ...rest, ...(onlink === true && { onlink }), device, table, metric, scope };
}

/** RTA_PRIORITY of an IPv6 route that names none: IP6_RT_PRIO_USER in the kernel. */
export const ipv6DefaultMetric = 1024;

/** It leads to no device. */
export const isDiscarding = (type: RouteType): boolean =>
  type === "blackhole" || type === "unreachable" || type === "prohibit" || type === "throw";

function ipv6Scope(route: Route): RouteScope {
  if (route.type === "local") return "host";
  return route.gateway === undefined && !isDiscarding(route.type) ? "link" : "global";
}

/** A neighbor entry: address → MAC on a device. */
export interface Neighbor {
  readonly device: IfName;
  readonly address: Ip;
  readonly mac: Mac;
  readonly isPermanent: boolean;
}

/** A VXLAN forwarding entry: inner MAC → the VTEP's underlay address. */
export interface FdbEntry {
  readonly device: IfName;
  readonly mac: Mac;
  readonly destination: Ip;
  readonly isPermanent: boolean;
  /** Of one that was found: where they are not the device's, as they are of all entries of ours. */
  readonly port?: number;
  readonly vni?: number;
  readonly underlayIndex?: number;
}

/**
 * A token bucket filter at the root of a device, tc-tbf(8): it delays what the device sends beyond
 * the rate. All in octets.
 */
export interface Shaping {
  readonly device: IfName;
  /** A second. */
  readonly rate: number;
  /** What may be sent at once after a silence: at least one packet, or none ever passes. */
  readonly burst: number;
  /** What may wait; more is dropped. */
  readonly limit: number;
}

/** The burst is not observed: the kernel tells it as a time of 32 bits, rounded. */
export type ObservedShaping = Omit<Shaping, "burst">;

/** One end of a new veth pair. Both indexes and MACs are chosen by the caller: no look-up follows. */
export interface VethEnd {
  readonly name: IfName;
  readonly index: number;
  readonly mac: Mac;
}

/** What may be changed on a link; what is absent stays. */
export interface LinkSettings {
  readonly isUp?: boolean;
  readonly mtu?: number;
  readonly mac?: Mac;
  readonly alias?: string;
  readonly group?: number;
  /** IPv4 reverse path filter of this device: 0 off, 1 strict, 2 loose. */
  readonly rpFilter?: 0 | 1 | 2;
  /** What comes in by this device may leave by another (IPv4). */
  readonly forwarding?: boolean;
  /** Packets of 127.0.0.0/8 may pass this device (IPv4). */
  readonly routeLocalnet?: boolean;
  /** false: the kernel makes no IPv6 link-local address (addr_gen_mode none). Set before up. */
  readonly linkLocal?: boolean;
  /** Of a VXLAN device; its VNI, its port and the family of its address are as they are. */
  readonly vxlan?: VxlanParameters;
  readonly options?: readonly AlteredOption[];
}

/** One step for the kernel. An ordered list of them is a plan, and is sent as one batch. */
export type Change =
  | {
      readonly kind: "add-veth";
      readonly host: VethEnd;
      readonly pod: VethEnd;
      /** Open descriptor of the sandbox's network namespace, where the pod end is made. */
      readonly sandboxFd: number;
      readonly mtu: number;
      readonly alias?: string;
      /** The host end comes up at once. It carries nothing before the pod end is up too. */
      readonly isHostUp?: boolean;
    }
  | {
      readonly kind: "add-vxlan";
      readonly name: IfName;
      readonly mac: Mac;
      readonly mtu: number;
      readonly vxlan: VxlanParameters;
      /** Of one that was found so; none is made with them. */
      readonly options?: readonly AlteredOption[];
    }
  /** `index` where the caller knows it: saves the look-up of the name. */
  | {
      readonly kind: "set-link";
      readonly device: IfName;
      readonly index?: number;
      readonly settings: LinkSettings;
    }
  | { readonly kind: "remove-link"; readonly device: IfName }
  | { readonly kind: "add-address"; readonly address: InterfaceAddress }
  | { readonly kind: "remove-address"; readonly address: InterfaceAddress }
  /** add fails with EEXIST where there is one of the same key (`routeKind`); replace does not. */
  | { readonly kind: "add-route"; readonly route: Route }
  | { readonly kind: "replace-route"; readonly route: Route }
  | { readonly kind: "remove-route"; readonly route: Route }
  | { readonly kind: "replace-neighbor"; readonly neighbor: Neighbor }
  | { readonly kind: "remove-neighbor"; readonly neighbor: Neighbor }
  | { readonly kind: "replace-fdb"; readonly entry: FdbEntry }
  | { readonly kind: "remove-fdb"; readonly entry: FdbEntry }
  /** Instead of whatever queueing discipline is at the device's root. It goes with the device. */
  | { readonly kind: "replace-shaping"; readonly shaping: Shaping };

/** The device of this namespace that the change is about. */
export function deviceOf(change: Change): IfName {
  switch (change.kind) {
    case "add-veth":
      return change.host.name;
    case "add-vxlan":
      return change.name;
    case "set-link":
    case "remove-link":
      return change.device;
    case "add-address":
    case "remove-address":
      return change.address.device;
    case "add-route":
    case "replace-route":
    case "remove-route":
      return change.route.device;
    case "replace-neighbor":
    case "remove-neighbor":
      return change.neighbor.device;
    case "replace-fdb":
    case "remove-fdb":
      return change.entry.device;
    case "replace-shaping":
      return change.shaping.device;
    default:
      return assertNever(change);
  }
}

/** A UDP flow as connection tracking has it, seen from who sent first. */
export interface UdpFlow {
  readonly source: Ip;
  readonly sourcePort: number;
  readonly destination: Ip;
  readonly destinationPort: number;
  /** Who answers: not the destination where the address is translated. */
  readonly answerer: Ip;
  readonly answererPort: number;
}
