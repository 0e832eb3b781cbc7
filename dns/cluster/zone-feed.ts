import {
  emptySnapshot,
  type EndpointSlice,
  objectKey,
  type Pod,
  type Snapshot,
} from "../../core/cluster/model.ts";
import { type MapChanges, mapChanges } from "./map-changes.ts";
import type { ZoneService, ZoneSlice } from "./service-records.ts";

/** What brings a zone from one snapshot to the next: plain data, made to be cloned to a thread. */
export interface ZoneUpdate {
  readonly revision: number;
  readonly isInSync: boolean;
  /** What the zone held before is void. */
  readonly isComplete: boolean;
  /** All that exist, if they changed. */
  readonly namespaces?: readonly string[];
  /** New or changed. */
  readonly services: readonly ZoneService[];
  /** Keys of those that were not there before. In a complete update all are new, and none is named. */
  readonly added: readonly string[];
  /** Keys of services that are gone. */
  readonly removed: readonly string[];
  /** `namespace/address` of all pods, if they changed; only for verified pod names. */
  readonly pods?: readonly string[];
}

/**
 * Turns snapshots into updates, each against the one before: a source keeps what did not change and
 * knows what did, so one changed service of 10,000 costs a message of one service.
 */
export class ZoneFeed {
  readonly #withPods: boolean;
  #sent: Snapshot | undefined;
  /** Keys of the slices of each service. */
  readonly #slices = new Map<string, Set<string>>();
  #sentPods: ReadonlyMap<string, Pod> | undefined;

  constructor(withPods: boolean) {
    this.#withPods = withPods;
  }

  /** The next update is complete: the zone that got the others is gone. */
  reset(): void {
    this.#sent = undefined;
    this.#slices.clear();
    this.#sentPods = undefined;
  }

  next(snapshot: Snapshot): ZoneUpdate {
    const before = this.#sent ?? emptySnapshot;
    const isComplete = this.#sent === undefined;
    const services = mapChanges(before.services, snapshot.services);
    const dirty = new Set(services.set.map(([key]) => key));
    this.#noteSlices(mapChanges(before.endpointSlices, snapshot.endpointSlices), before, dirty);
    const added = isComplete
      ? []
      : services.set.flatMap(([key]) => (before.services.has(key) ? [] : key));
    const hasOtherNames = isComplete || added.length + services.removed.length > 0;
    const mayHaveOthers = hasOtherNames || before.namespaces !== snapshot.namespaces;
    const pods = this.#podsOf(snapshot);
    this.#sent = snapshot;
    return {
      revision: snapshot.revision,
      isInSync: snapshot.isInSync,
      isComplete,
      ...(mayHaveOthers && { namespaces: namespacesOf(snapshot) }),
      services: [...dirty].flatMap((key) => this.#zoneService(key, snapshot) ?? []),
      added,
      removed: services.removed.map(([key]) => key),
      ...(pods && { pods }),
    };
  }

  // The services of the slices, as they were and as they are, are dirty.
  #noteSlices(
    { set, removed }: MapChanges<EndpointSlice>,
    { endpointSlices: before }: Snapshot,
    dirty: Set<string>,
  ): void {
    const leave = (key: string, slice: EndpointSlice | undefined): void => {
      if (slice === undefined) return;
      const service = serviceKeyOf(slice);
      const keys = this.#slices.get(service);
      keys?.delete(key);
      if (keys?.size === 0) this.#slices.delete(service);
      dirty.add(service);
    };
    for (const [key, slice] of removed) leave(key, slice);
    for (const [key, slice] of set) {
      leave(key, before.get(key));
      const service = serviceKeyOf(slice);
      const keys = this.#slices.get(service) ?? new Set();
      this.#slices.set(service, keys.add(key));
      dirty.add(service);
    }
  }

  #zoneService(key: string, { services, endpointSlices }: Snapshot): ZoneService | undefined {
    const service = services.get(key);
    if (service === undefined) return undefined;
    const slices = [...(this.#slices.get(key) ?? [])].flatMap((at) => endpointSlices.get(at) ?? []);
    return { service, slices: slices.map(zoneSlice) };
  }

  #podsOf({ pods }: Snapshot): string[] | undefined {
    if (!this.#withPods || pods === this.#sentPods) return undefined;
    this.#sentPods = pods;
    return [...pods.values()].flatMap((pod) => pod.ips.map((ip) => objectKey(pod.namespace, ip)));
  }
}

const serviceKeyOf = ({ namespace, serviceName }: EndpointSlice): string =>
  objectKey(namespace, serviceName);

// Terminating endpoints are not ready either, and leave with the rest.
const zoneSlice = ({ ports, endpoints }: EndpointSlice): ZoneSlice => ({
  ports,
  endpoints: endpoints
    .filter(({ isReady }) => isReady)
    .map(({ addresses, hostname }) => ({ addresses, ...(hostname && { hostname }) })),
});

const namespacesOf = (snapshot: Snapshot): string[] => [
  ...new Set([
    ...snapshot.namespaces.keys(),
    ...snapshot.services.values().map(({ namespace }) => namespace),
  ]),
];
