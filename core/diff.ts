// Desired against observed → the changes that make one of the other, in an order that depends on
// nothing that is not there yet and never leaves a gap that it can avoid.
import type { DesiredNode, DesiredVxlan, ObservedNode } from "./desired/node-state.ts";
import { overlayAlias } from "./desired/overlay.ts";
import type {
  Change,
  FdbEntry,
  InterfaceAddress,
  Link,
  Neighbor,
  Route,
  VxlanParameters,
} from "./network.ts";

/** What of a kind of object must be written, and what must go. */
export interface Delta<T> {
  readonly put: readonly T[];
  readonly remove: readonly T[];
}

/**
 * Compares by key: what is desired and not observed equal is put, what is observed under a key that is
 * not desired is removed. Several observed under one desired key: the equal one stays, else the first
 * is replaced, which shows at the next comparison.
 */
export function diffByKey<T>(
  desired: readonly T[],
  observed: readonly T[],
  keyOf: (item: T) => string,
  isSame: (a: T, b: T) => boolean,
): Delta<T> {
  const wanted = new Map(desired.map((item) => [keyOf(item), item]));
  const met = new Set<string>();
  const others = observed.filter((item) => {
    const key = keyOf(item);
    const want = wanted.get(key);
    if (want === undefined || met.has(key) || !isSame(want, item)) return true;
    met.add(key);
    return false;
  });
  return {
    put: [...wanted].flatMap(([key, item]) => (met.has(key) ? [] : [item])),
    remove: others.filter((item) => !wanted.has(keyOf(item)) || met.has(keyOf(item))),
  };
}

export interface DiffOptions {
  /** False before the source is in sync: what is not known yet must not be taken for gone. */
  readonly mayRemove: boolean;
}

/**
 * The changes that make the observed node the desired one: the device, addresses, neighbors, FDB
 * entries and routes to put, in this order, then what must go, in the reverse one. Nothing is done to,
 * or over, a foreign device that has the name of ours.
 */
export function diffNode(
  desired: DesiredNode,
  observed: ObservedNode,
  { mayRemove }: DiffOptions,
): readonly Change[] {
  const device = diffDevice(desired.vxlan, observed.link);
  const before = device.isNew ? withoutDevice(observed) : observed;
  const isForeign = isForeignDevice(desired.vxlan, observed.link);
  const reachable = isForeign ? withoutVxlan(desired, observed.link) : desired;
  const addresses = diffByKey(reachable.addresses, before.addresses, addressKey, () => true);
  const neighbors = diffByKey(reachable.neighbors, before.neighbors, neighborKey, isSameNeighbor);
  const fdb = diffByKey(reachable.fdb, before.fdb, fdbKey, isSameFdb);
  const routes = diffByKey(reachable.routes, before.routes, routeKey, isSameRoute);
  const put: Change[] = [
    ...device.changes,
    ...addresses.put.map((address): Change => ({ kind: "add-address", address })),
    ...neighbors.put.map((neighbor): Change => ({ kind: "replace-neighbor", neighbor })),
    ...fdb.put.map((entry): Change => ({ kind: "replace-fdb", entry })),
    ...routes.put.map((route): Change => ({ kind: "replace-route", route })),
  ];
  if (!mayRemove) return put;
  const own: Change[] = isForeign
    ? []
    : [
        ...fdb.remove.map((entry): Change => ({ kind: "remove-fdb", entry })),
        ...neighbors.remove.map((neighbor): Change => ({ kind: "remove-neighbor", neighbor })),
        ...addresses.remove.map((address): Change => ({ kind: "remove-address", address })),
        ...device.removal,
      ];
  return [
    ...put,
    ...routes.remove.map((route): Change => ({ kind: "remove-route", route })),
    ...own,
  ];
}

/** A device with the name of ours that we did not make: by its type, or by its alias and its MAC. */
export const isForeignDevice = (
  desired: DesiredVxlan | undefined,
  link: Link | undefined,
): boolean =>
  link !== undefined &&
  (link.type !== "vxlan" || (link.alias !== overlayAlias && link.mac !== desired?.mac));

interface DeviceDelta {
  readonly changes: readonly Change[];
  readonly removal: readonly Change[];
  /** Nothing that was observed on the device is there any more. */
  readonly isNew: boolean;
}

function diffDevice(desired: DesiredVxlan | undefined, link: Link | undefined): DeviceDelta {
  const nothing: DeviceDelta = { changes: [], removal: [], isNew: false };
  if (isForeignDevice(desired, link)) return nothing;
  if (desired === undefined) {
    return link === undefined
      ? nothing
      : { ...nothing, removal: [{ kind: "remove-link", device: link.name }] };
  }
  if (link === undefined) return { ...nothing, changes: createDevice(desired), isNew: true };
  // The kernel takes neither a new VNI nor a new port on a device that exists.
  if (link.vxlan === undefined || !isSameVxlan(link.vxlan, desired.vxlan)) {
    const removal: Change = { kind: "remove-link", device: link.name };
    return { ...nothing, changes: [removal, ...createDevice(desired)], isNew: true };
  }
  const settings = {
    ...(link.mtu !== desired.mtu && { mtu: desired.mtu }),
    ...(link.mac !== desired.mac && { mac: desired.mac }),
    ...(link.alias !== desired.alias && { alias: desired.alias }),
    ...(!link.isUp && { isUp: true }),
  };
  if (Object.keys(settings).length === 0) return nothing;
  return { ...nothing, changes: [{ kind: "set-link", device: link.name, settings }] };
}

// Up only after the rest, so that the kernel never makes an IPv6 link-local address.
const createDevice = ({ name, mac, mtu, alias, vxlan }: DesiredVxlan): readonly Change[] => [
  { kind: "add-vxlan", name, mac, mtu, vxlan },
  { kind: "set-link", device: name, settings: { alias, rpFilter: 0, linkLocal: false } },
  { kind: "set-link", device: name, settings: { isUp: true } },
];

const isSameVxlan = (a: VxlanParameters, b: VxlanParameters): boolean =>
  a.vni === b.vni &&
  a.port === b.port &&
  a.local === b.local &&
  a.underlayIndex === b.underlayIndex &&
  a.learning === b.learning;

const withoutDevice = ({ link, routes }: ObservedNode): ObservedNode => ({
  addresses: [],
  neighbors: [],
  fdb: [],
  routes: routes.filter(({ device }) => device !== link?.name),
});

const withoutVxlan = (desired: DesiredNode, link: Link | undefined): DesiredNode => ({
  addresses: [],
  neighbors: [],
  fdb: [],
  routes: desired.routes.filter(({ device }) => device !== link?.name),
});

const addressKey = ({ address, prefixLength }: InterfaceAddress): string =>
  `${address}/${prefixLength}`;

const neighborKey = ({ address }: Neighbor): string => address;
const isSameNeighbor = (a: Neighbor, b: Neighbor): boolean =>
  a.mac === b.mac && a.isPermanent === b.isPermanent;

const fdbKey = ({ mac, destination }: FdbEntry): string => `${mac} ${destination}`;
const isSameFdb = (a: FdbEntry, b: FdbEntry): boolean => a.isPermanent === b.isPermanent;

// What the kernel tells routes apart by: prefix, table and priority.
const routeKey = ({ destination, table, metric }: Route): string =>
  `${destination} ${table} ${metric}`;

const isSameRoute = (a: Route, b: Route): boolean =>
  a.device === b.device &&
  a.gateway === b.gateway &&
  a.onlink === b.onlink &&
  a.source === b.source &&
  a.type === b.type &&
  a.scope === b.scope &&
  a.protocol === b.protocol;
