// What the namespaces in memory tell objects apart by.
import type { FdbEntry, InterfaceAddress, Neighbor, Route } from "../core/network.ts";

export const isSameAddress = (a: InterfaceAddress, b: InterfaceAddress): boolean =>
  a.device === b.device && a.address === b.address && a.prefixLength === b.prefixLength;

export const isSameNeighbor = (a: Neighbor, b: Neighbor): boolean =>
  a.device === b.device && a.address === b.address;

export const isSameFdbEntry = (a: FdbEntry, b: FdbEntry): boolean =>
  a.device === b.device && a.mac === b.mac && a.destination === b.destination;

// The key of a route in its table: RFC 1812's prefix, and Linux's priority.
export const isSameRouteKey = (a: Route, b: Route): boolean =>
  a.destination === b.destination &&
  a.typeOfService === b.typeOfService &&
  a.from === b.from &&
  a.table === b.table &&
  a.metric === b.metric;

export const isSameHop = (a: Route, b: Route): boolean =>
  a.device === b.device && a.gateway === b.gateway && a.protocol === b.protocol;
