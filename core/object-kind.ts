// The kinds of objects that make up a node's network: how each is told apart, compared and written.
import type { Change, FdbEntry, InterfaceAddress, Neighbor, Route } from "./network.ts";

export interface ObjectKind<T> {
  /** What the kernel tells objects apart by, of those that are a node's. */
  readonly keyOf: (item: T) => string;
  /** Of two with the same key. */
  readonly isSame: (a: T, b: T) => boolean;
  /** Makes it be there so, whatever is there under its key. */
  readonly put: (item: T) => Change;
  /** What is not there is no failure. */
  readonly remove: (item: T) => Change;
}

export const addressKind: ObjectKind<InterfaceAddress> = {
  keyOf: ({ address, prefixLength }) => `${address}/${prefixLength}`,
  isSame: () => true,
  put: (address) => ({ kind: "add-address", address }),
  remove: (address) => ({ kind: "remove-address", address }),
};

export const neighborKind: ObjectKind<Neighbor> = {
  keyOf: ({ address }) => address,
  isSame: (a, b) => a.mac === b.mac && a.isPermanent === b.isPermanent,
  put: (neighbor) => ({ kind: "replace-neighbor", neighbor }),
  remove: (neighbor) => ({ kind: "remove-neighbor", neighbor }),
};

export const fdbKind: ObjectKind<FdbEntry> = {
  keyOf: ({ mac, destination, port, vni, underlayIndex }) =>
    port === undefined && vni === undefined && underlayIndex === undefined
      ? `${mac} ${destination}`
      : `${mac} ${destination} ${port} ${vni} ${underlayIndex}`,
  isSame: (a, b) => a.isPermanent === b.isPermanent,
  put: (entry) => ({ kind: "replace-fdb", entry }),
  remove: (entry) => ({ kind: "remove-fdb", entry }),
};

export const routeKind: ObjectKind<Route> = {
  keyOf: ({ destination, typeOfService, from, table, metric }) =>
    typeOfService === undefined && from === undefined
      ? `${destination} ${table} ${metric}`
      : `${destination} ${table} ${metric} ${typeOfService} ${from}`,
  isSame: (a, b) =>
    a.device === b.device &&
    a.gateway === b.gateway &&
    a.onlink === b.onlink &&
    a.source === b.source &&
    a.type === b.type &&
    a.scope === b.scope &&
    a.protocol === b.protocol &&
    a.isAltered === b.isAltered,
  put: (route) => ({ kind: "replace-route", route }),
  remove: (route) => ({ kind: "remove-route", route }),
};
