// Routes: RTM_*ROUTE messages, rtnetlink(7) and <linux/rtnetlink.h>.
import { FlagsNew } from "netlink/dist/constants.js";
import {
  MessageType,
  RouteScope as KernelScope,
  RouteType as KernelType,
} from "netlink/dist/rt/gen_structs.js";
import {
  type Cidr,
  type Family,
  type Ip,
  cidrBase,
  cidrFromBytes,
  cidrPrefixLength,
  familyOf,
  ipFromBytes,
  ipToBytes,
} from "../core/address.ts";
import { type IfName, loopbackDevice } from "../core/names.ts";
import {
  type Route,
  type RouteScope,
  type RouteType,
  ipv6DefaultMetric,
  isDiscarding,
  normalRoute,
} from "../core/network.ts";
import { addressFamily } from "./family.ts";
import type { MessageBatch } from "./message.ts";
import type { Attributes, Message } from "./received.ts";
import type { RouteFilter } from "./kernel.ts";

/**
 * struct rtmsg: family, destination and source prefix lengths, TOS, table, protocol, scope, type,
 * flags.
 */
const rtmsgLength = 12;
const rta = {
  destination: 1,
  source: 2,
  outputInterface: 4,
  gateway: 5,
  priority: 6,
  preferredSource: 7,
  metrics: 8,
  multipath: 9,
  realms: 11,
  cacheInfo: 12,
  table: 15,
  via: 18,
  preference: 20,
  encapsulation: 22,
  nexthopObject: 30,
} as const;
/** In the place of an index. */
const anyDevice = 0;
const flagOnlink = 4;

const typeNumbers: Readonly<Record<RouteType, number>> = {
  unicast: KernelType.UNICAST,
  local: KernelType.LOCAL,
  blackhole: KernelType.BLACKHOLE,
  unreachable: KernelType.UNREACHABLE,
  prohibit: KernelType.PROHIBIT,
  throw: KernelType.THROW,
  broadcast: KernelType.BROADCAST,
  anycast: KernelType.ANYCAST,
  multicast: KernelType.MULTICAST,
};
/** Of each device that has an address. */
const madeByKernel = new Set<RouteType>(["broadcast", "anycast", "multicast"]);
const kernelProtocol = 2;
const typesByNumber = new Map<number, RouteType>([
  [KernelType.UNICAST, "unicast"],
  [KernelType.LOCAL, "local"],
  [KernelType.BLACKHOLE, "blackhole"],
  [KernelType.UNREACHABLE, "unreachable"],
  [KernelType.PROHIBIT, "prohibit"],
  [KernelType.THROW, "throw"],
  [KernelType.BROADCAST, "broadcast"],
  [KernelType.ANYCAST, "anycast"],
  [KernelType.MULTICAST, "multicast"],
]);

const scopeNumbers: Readonly<Record<RouteScope, number>> = {
  global: KernelScope.UNIVERSE,
  link: KernelScope.LINK,
  host: KernelScope.HOST,
};
const scopesByNumber = new Map<number, RouteScope>([
  [KernelScope.UNIVERSE, "global"],
  [KernelScope.LINK, "link"],
  [KernelScope.HOST, "host"],
]);

/** RTM_F_FIB_MATCH of <linux/rtnetlink.h>. */
const flagFibMatch = 0x2000;

/** add fails with EEXIST where there is one of the same key. */
export function writeAddRoute(
  batch: MessageBatch,
  route: Route,
  index: number,
  mayReplace: boolean,
): void {
  const flags = FlagsNew.CREATE | (mayReplace ? FlagsNew.REPLACE : FlagsNew.EXCL);
  batch.message(MessageType.NEWROUTE, flags, () => {
    const scope = scopeNumbers[route.scope];
    writeRtmsg(batch, route, { type: typeNumbers[route.type], scope });
    batch.u32(route.onlink === true ? flagOnlink : 0);
    writeKey(batch, route, index);
    if (route.gateway !== undefined) writeGateway(batch, route, route.gateway);
    if (route.source !== undefined) batch.attributeIp(rta.preferredSource, route.source);
  });
}

/**
 * The route of this key, type, protocol, device and next hop. An altered one by its key and protocol alone: one that has a nexthop object is not found by where it leads, nor
 * by the type that it is told to be of, which is the object's; one that has several leads to others too.
 */
export function writeRemoveRoute(batch: MessageBatch, route: Route, index: number): void {
  if (route.isAltered === true) return writeRemoveByKey(batch, route);
  batch.message(MessageType.DELROUTE, 0, () => {
    writeRtmsg(batch, route, { type: typeNumbers[route.type], scope: KernelScope.NOWHERE });
    batch.u32(0);
    writeKey(batch, route, index);
    if (route.gateway !== undefined) writeGateway(batch, route, route.gateway);
  });
}

/** The route of this key, whoever made it and wherever it leads. */
export const writeRemoveAnyRoute = (batch: MessageBatch, route: Route): void =>
  writeRemoveByKey(batch, { ...route, protocol: anyProtocol });

const writeRemoveByKey = (batch: MessageBatch, route: Route): void =>
  batch.message(MessageType.DELROUTE, 0, () => {
    writeRtmsg(batch, route, { type: KernelType.UNSPEC, scope: KernelScope.NOWHERE });
    batch.u32(0);
    writeKey(batch, route, anyDevice);
  });

const anyProtocol = 0;

/** To be dumped. A filter of the kernel's own saves reading ten thousand routes of others. */
export function writeGetRoutes(
  batch: MessageBatch,
  family: Family,
  filter: RouteFilter,
  index: number | undefined,
): void {
  batch.message(MessageType.GETROUTE, 0, () => {
    batch.u8(addressFamily(family)).u8(0).u8(0).u8(0);
    batch
      .u8(0)
      .u8(filter.protocol ?? 0)
      .u8(0)
      .u8(0)
      .u32(0);
    if (filter.table !== undefined) batch.attributeU32(rta.table, filter.table);
    if (index !== undefined) batch.attributeU32(rta.outputInterface, index);
  });
}

/**
 * The one by which the address is reached over the interface. By its entry in the table: without one the kernel
 * would take what it sends over an interface to be on the link.
 */
export function writeFindRoute(batch: MessageBatch, address: Ip, index: number): void {
  const family = familyOf(address);
  batch.message(MessageType.GETROUTE, 0, () => {
    batch
      .u8(addressFamily(family))
      .u8(family === 4 ? 32 : 128)
      .u8(0)
      .u8(0);
    batch.u8(0).u8(0).u8(0).u8(0).u32(flagFibMatch);
    batch.attributeIp(rta.destination, address).attributeU32(rta.outputInterface, index);
  });
}

/** All but the flags. */
function writeRtmsg(
  batch: MessageBatch,
  { destination, typeOfService = 0, from, protocol }: Route,
  { type, scope }: { readonly type: number; readonly scope: number },
): void {
  batch
    .u8(addressFamily(familyOf(destination)))
    .u8(cidrPrefixLength(destination))
    .u8(from === undefined ? 0 : cidrPrefixLength(from))
    .u8(typeOfService);
  // The table is an attribute, for here it has but one octet.
  batch.u8(0).u8(protocol).u8(scope).u8(type);
}

function writeKey(batch: MessageBatch, route: Route, index: number): void {
  const { destination, from, metric, table, type } = route;
  if (cidrPrefixLength(destination) > 0) {
    batch.attributeIp(rta.destination, cidrBase(destination));
  }
  if (from !== undefined) batch.attributeIp(rta.source, cidrBase(from));
  batch.attributeU32(rta.table, table);
  if (!isDiscarding(type)) batch.attributeU32(rta.outputInterface, index);
  // An IPv6 metric of 0 would mean "any" in a removal.
  const priority = metric === 0 && familyOf(destination) === 6 ? ipv6DefaultMetric : metric;
  if (priority !== 0) batch.attributeU32(rta.priority, priority);
}

/** An IPv4 destination may have an IPv6 next hop (RFC 5549), which RTA_GATEWAY cannot say. */
function writeGateway(batch: MessageBatch, route: Route, gateway: Ip): void {
  const family = familyOf(gateway);
  if (family === familyOf(route.destination)) batch.attributeIp(rta.gateway, gateway);
  else {
    const octets = Buffer.alloc(2 + ipToBytes(gateway).length);
    octets.writeUInt16LE(addressFamily(family));
    octets.set(ipToBytes(gateway), 2);
    batch.attributeOctets(rta.via, octets);
  }
}

/** 0 for a route that discards. */
export const outputIndexOf = (message: Message): number =>
  indexIn(message.attributes(rtmsgLength)) ?? 0;

/** Of several next hops, which are struct rtnexthop one after the other, the first one's. */
function indexIn(attributes: Attributes): number | undefined {
  const hops = attributes.octets(rta.multipath);
  if (hops !== undefined && hops.length >= 8) return hops.readUInt32LE(4);
  return attributes.u32(rta.outputInterface);
}

/** A route whose device is still a number. */
export interface DecodedRoute {
  readonly index: number;
  toRoute(device: IfName): Route;
}

/**
 * Undefined for what `NetworkNamespace.routes` leaves out, and for other families: a
 * kernel without IPv6 answers a question for its routes with those of IPv4.
 */
export function decodeRoute(message: Message, family: Family): DecodedRoute | undefined {
  const type = typesByNumber.get(message.u8(7));
  const protocol = message.u8(5);
  const scope = scopesByNumber.get(message.u8(6));
  const flags = message.u32(8);
  if (type === undefined) return undefined;
  if (protocol === kernelProtocol && madeByKernel.has(type)) return undefined;
  if (message.u8(0) !== addressFamily(family)) return undefined;
  const [sourceLength, typeOfService] = [message.u8(2), message.u8(3)];
  const attributes = message.attributes(rtmsgLength);
  const index = indexIn(attributes);
  const gateway = attributes.ip(rta.gateway) ?? decodeVia(attributes);
  const source = attributes.ip(rta.preferredSource);
  const rest = {
    destination: decodePrefix(attributes.octets(rta.destination), family, message.u8(1)),
    ...(typeOfService !== 0 && { typeOfService }),
    ...(sourceLength !== 0 && {
      from: decodePrefix(attributes.octets(rta.source), family, sourceLength),
    }),
    ...(gateway !== undefined && { gateway }),
    ...((flags & flagOnlink) !== 0 && { onlink: true }),
    ...(source !== undefined && { source }),
    metric: attributes.u32(rta.priority) ?? 0,
    table: attributes.u32(rta.table) ?? message.u8(4),
    type,
    scope: scope ?? "global",
    protocol,
    ...((scope === undefined || isAltered(attributes, family)) && { isAltered: true as const }),
  };
  return { index: index ?? 0, toRoute: (device) => normalRoute({ ...rest, device }) };
}

const { metrics, multipath, realms, encapsulation, nexthopObject } = rta;
const alterations = [metrics, multipath, realms, encapsulation, nexthopObject].reduce(
  (bits, type) => bits | (1 << type),
  0,
);

/** It has what `writeAddRoute` gives none. */
const isAltered = (attributes: Attributes, family: Family): boolean =>
  attributes.hasAnyOf(alterations) ||
  (family === 6 && ((attributes.u8(rta.preference) ?? 0) !== 0 || doesExpire(attributes)));

function doesExpire(attributes: Attributes): boolean {
  const info = attributes.octets(rta.cacheInfo);
  // struct rta_cacheinfo
  return info !== undefined && info.length >= 12 && info.readInt32LE(8) !== 0;
}

const decodePrefix = (octets: Buffer | undefined, family: Family, length: number): Cidr =>
  cidrFromBytes(octets ?? new Uint8Array(family === 4 ? 4 : 16), length);

function decodeVia(attributes: Attributes): Ip | undefined {
  const octets = attributes.octets(rta.via)?.subarray(2);
  return octets?.length === 4 || octets?.length === 16 ? ipFromBytes(octets) : undefined;
}

/** The device of what leads nowhere: IPv6 says `lo`, IPv4 nothing. */
export const deviceOfDiscarding = loopbackDevice;
