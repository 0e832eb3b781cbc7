// Desired against observed → the changes that make one of the other, in an order that depends on
// nothing that is not there yet and never leaves a gap that it can avoid.
import { familyOf } from "./address.ts";
import { type AlteredOption, optionsToSet } from "./device-option.ts";
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
import { addressKind, fdbKind, neighborKind, type ObjectKind, routeKind } from "./object-kind.ts";

/** What of a kind of object must be written, and what must go. */
export interface Delta<T> {
  readonly put: readonly T[];
  readonly remove: readonly T[];
  /** Desired keys under which several were observed; absent: none. */
  readonly repeated?: ReadonlySet<string>;
}

/**
 * Compares by key: what is desired and not observed equal is put, what is observed under a key that is
 * not desired is removed. Several observed under one desired key: the equal one stays, else the first
 * is replaced, and the rest of them is left.
 */
export function diffByKey<T>(
  wanted: ReadonlyMap<string, T>,
  observed: readonly T[],
  { keyOf, isSame }: Pick<ObjectKind<T>, "keyOf" | "isSame">,
): Delta<T> {
  const met = new Set<T>();
  const others: (readonly [string, T])[] = [];
  for (const item of observed) {
    const key = keyOf(item);
    const want = wanted.get(key);
    if (want === undefined || met.has(want) || !isSame(want, item)) others.push([key, item]);
    else met.add(want);
  }
  const isWhole = met.size === wanted.size;
  const repeated = repeatedIn(wanted, met, others);
  return {
    put: isWhole ? [] : unmet(wanted, met),
    remove: others.flatMap(([key, item]) => {
      const want = wanted.get(key);
      return want === undefined || met.has(want) ? [item] : [];
    }),
    ...(repeated.size > 0 && { repeated }),
  };
}

function repeatedIn<T>(
  wanted: ReadonlyMap<string, T>,
  met: ReadonlySet<T>,
  others: readonly (readonly [string, T])[],
): ReadonlySet<string> {
  const [once, repeated] = [new Set<string>(), new Set<string>()];
  for (const [key] of others) {
    const want = wanted.get(key);
    if (want === undefined) continue;
    if (met.has(want) || once.has(key)) repeated.add(key);
    else once.add(key);
  }
  return repeated;
}

function unmet<T>(wanted: ReadonlyMap<string, T>, met: ReadonlySet<T>): readonly T[] {
  if (met.size === 0) return [...wanted.values()];
  const missing: T[] = [];
  for (const item of wanted.values()) if (!met.has(item)) missing.push(item);
  return missing;
}

/** What a node's kernel is to hold, each object by its key. */
export interface KeyedNode {
  readonly vxlan: DesiredVxlan | undefined;
  /** Of the device that was found to be ours at the last look, whatever is altered on it since. */
  readonly ownIndex?: number | undefined;
  readonly addresses: ReadonlyMap<string, InterfaceAddress>;
  readonly neighbors: ReadonlyMap<string, Neighbor>;
  readonly fdb: ReadonlyMap<string, FdbEntry>;
  readonly routes: ReadonlyMap<string, Route>;
}

export const keyedNode = (desired: DesiredNode): KeyedNode => ({
  vxlan: desired.vxlan,
  addresses: byKey(desired.addresses, addressKind),
  neighbors: byKey(desired.neighbors, neighborKind),
  fdb: byKey(desired.fdb, fdbKind),
  routes: byKey(desired.routes, routeKind),
});

const byKey = <T>(items: readonly T[], { keyOf }: ObjectKind<T>): ReadonlyMap<string, T> =>
  new Map(items.map((item) => [keyOf(item), item]));

export interface DiffOptions {
  /** False before the source is in sync: what is not known yet must not be taken for gone. */
  readonly mayRemove: boolean;
}

/**
 * The changes that make the observed node the desired one: the device, addresses, neighbors, FDB
 * entries and routes to put, in this order, then what must go, in the reverse one. Nothing is done to,
 * or over, a foreign device that has the name of ours.
 */
export const diffNode = (
  desired: DesiredNode,
  observed: ObservedNode,
  options: DiffOptions,
): readonly Change[] => diffKeyed(keyedNode(desired), observed, options);

/** As {@link diffNode}, for who has the keys already. */
export function diffKeyed(
  desired: KeyedNode,
  observed: ObservedNode,
  { mayRemove }: DiffOptions,
): readonly Change[] {
  const isForeign = isForeignDevice(desired, observed.link);
  const device = isForeign ? unchanged : diffDevice(desired.vxlan, observed.link);
  const before = device.isNew ? withoutDevice(observed) : observed;
  const reachable = isForeign ? withoutVxlan(desired, observed.link) : desired;
  const addresses = diffByKey(reachable.addresses, before.addresses, addressKind);
  const neighbors = diffByKey(reachable.neighbors, before.neighbors, neighborKind);
  const fdb = diffByKey(reachable.fdb, before.fdb, fdbKind);
  const routes = diffRoutes(reachable.routes, before.routes, mayRemove);
  const put: Change[] = [
    ...device.changes,
    ...addresses.put.map(addressKind.put),
    ...neighbors.put.map(neighborKind.put),
    ...fdb.put.map(fdbKind.put),
    ...routes.put,
  ];
  if (!mayRemove) return put;
  const own: Change[] = isForeign
    ? []
    : [
        ...fdb.remove.map(fdbKind.remove),
        ...neighbors.remove.map(neighborKind.remove),
        ...addresses.remove.map(addressKind.remove),
        ...device.removal,
      ];
  return [...put, ...routes.remove, ...own];
}

/**
 * Of several routes of one destination, table and metric the kernel removes the first that it finds like the one
 * that is asked for, which may be ours: all of them go, and ours is put again.
 */
function diffRoutes(
  wanted: ReadonlyMap<string, Route>,
  observed: readonly Route[],
  mayRemove: boolean,
): { readonly put: readonly Change[]; readonly remove: readonly Change[] } {
  const { keyOf, put: putting, remove: removing } = routeKind;
  const { put, remove, repeated } = diffByKey(wanted, observed, routeKind);
  if (repeated === undefined || !mayRemove) {
    return { put: put.map(putting), remove: remove.map(removing) };
  }
  const isRepeated = (route: Route): boolean => repeated.has(keyOf(route));
  const again = [...repeated].flatMap((key) => wanted.get(key) ?? []);
  return {
    put: [
      ...put.filter((route) => !isRepeated(route)).map(putting),
      ...observed.filter(isRepeated).map(removing),
      ...again.map(putting),
    ],
    remove: remove.filter((route) => !isRepeated(route)).map(removing),
  };
}

/**
 * A device with the name of ours that we did not make: by its type, or by its alias and its MAC where its index
 * is not known.
 */
export const isForeignDevice = (
  { vxlan, ownIndex }: Pick<KeyedNode, "vxlan" | "ownIndex">,
  link: Link | undefined,
): boolean =>
  link !== undefined &&
  (link.type !== "vxlan" ||
    (link.alias !== overlayAlias && link.mac !== vxlan?.mac && link.index !== ownIndex));

interface DeviceDelta {
  readonly changes: readonly Change[];
  readonly removal: readonly Change[];
  /** Nothing that was observed on the device is there any more. */
  readonly isNew: boolean;
}

const unchanged: DeviceDelta = { changes: [], removal: [], isNew: false };

function diffDevice(desired: DesiredVxlan | undefined, link: Link | undefined): DeviceDelta {
  if (desired === undefined) {
    return link === undefined
      ? unchanged
      : { ...unchanged, removal: [{ kind: "remove-link", device: link.name }] };
  }
  if (link === undefined) return { ...unchanged, changes: createDevice(desired), isNew: true };
  const { vxlan, altered = [] } = link;
  if (vxlan === undefined || !isChangeable(vxlan, desired.vxlan) || altered.some(isFixed)) {
    const removal: Change = { kind: "remove-link", device: link.name };
    return { ...unchanged, changes: [removal, ...createDevice(desired)], isNew: true };
  }
  const options = optionsToSet(desired.altered, altered);
  const settings = {
    ...(link.mtu !== desired.mtu && { mtu: desired.mtu }),
    ...(link.mac !== desired.mac && { mac: desired.mac }),
    ...(link.alias !== desired.alias && { alias: desired.alias }),
    ...(!isSameVxlan(vxlan, desired.vxlan) && { vxlan: desired.vxlan }),
    ...(options.length > 0 && { options }),
    ...(link.group !== 0 && { group: 0 }),
    ...(!link.isUp && { isUp: true }),
  };
  if (Object.keys(settings).length === 0) return unchanged;
  return { ...unchanged, changes: [{ kind: "set-link", device: link.name, settings }] };
}

// Up only after the rest, so that the kernel never makes an IPv6 link-local address.
const createDevice = (desired: DesiredVxlan): readonly Change[] => {
  const { name, mac, mtu, alias, vxlan, altered: options } = desired;
  const others = { rpFilter: 0, linkLocal: false, ...(options.length > 0 && { options }) } as const;
  return [
    { kind: "add-vxlan", name, mac, mtu, vxlan },
    { kind: "set-link", device: name, settings: { alias, ...others } },
    { kind: "set-link", device: name, settings: { isUp: true } },
  ];
};

const isFixed = (option: AlteredOption): boolean => option.isFixed;

// The kernel takes no other VNI, port or family of the outer packets on a device that exists.
const isChangeable = (a: VxlanParameters, b: VxlanParameters): boolean =>
  a.vni === b.vni &&
  a.port === b.port &&
  (a.local && familyOf(a.local)) === (b.local && familyOf(b.local));

const isSameVxlan = (a: VxlanParameters, b: VxlanParameters): boolean =>
  a.local === b.local && a.underlayIndex === b.underlayIndex && a.learning === b.learning;

const withoutDevice = ({ link, routes }: ObservedNode): ObservedNode => ({
  addresses: [],
  neighbors: [],
  fdb: [],
  routes: routes.filter(({ device }) => device !== link?.name),
});

const withoutVxlan = ({ vxlan, routes }: KeyedNode, link: Link | undefined): KeyedNode => ({
  vxlan,
  addresses: new Map(),
  neighbors: new Map(),
  fdb: new Map(),
  routes: new Map([...routes].filter(([, { device }]) => device !== link?.name)),
});
