import { isDeepStrictEqual } from "node:util";
import {
  type EndpointSlice,
  objectKey,
  type Pod,
  type Service,
  type Snapshot,
} from "../core/cluster/model.ts";
import type { ZoneService, ZoneSlice } from "./service-records.ts";

/** What brings a zone from one snapshot to the next: plain data, made to be cloned to a thread. */
export interface ZoneUpdate {
  readonly revision: number;
  readonly isInSync: boolean;
  /** What the zone held before is void. */
  readonly isComplete: boolean;
  /** All that exist. */
  readonly namespaces: readonly string[];
  /** New or changed. */
  readonly services: readonly ZoneService[];
  /** Keys of services that are gone. */
  readonly removed: readonly string[];
  /** `namespace/address` of all pods, if they changed; only for verified pod names. */
  readonly pods?: readonly string[];
}

interface Group {
  readonly service: Service;
  readonly slices: readonly EndpointSlice[];
}

/**
 * Turns snapshots into updates, each against the one before: a source keeps what did not change, so
 * one changed service of 10,000 costs a comparison of references and a message of one service.
 */
export class ZoneFeed {
  readonly #withPods: boolean;
  #sent: ReadonlyMap<string, Group> | undefined;
  #sentPods: ReadonlyMap<string, Pod> | undefined;

  constructor(withPods: boolean) {
    this.#withPods = withPods;
  }

  /** The next update is complete: the zone that got the others is gone. */
  reset(): void {
    this.#sent = undefined;
    this.#sentPods = undefined;
  }

  next(snapshot: Snapshot): ZoneUpdate {
    const before: ReadonlyMap<string, Group> = this.#sent ?? new Map();
    const isComplete = this.#sent === undefined;
    const now = groupsOf(snapshot);
    const services: ZoneService[] = [];
    for (const [key, group] of now) {
      const old = before.get(key);
      if (old === undefined || !isSameGroup(old, group)) services.push(zoneService(group));
    }
    const removed = before
      .keys()
      .filter((key) => !now.has(key))
      .toArray();
    const pods = this.#podsOf(snapshot);
    this.#sent = now;
    return {
      revision: snapshot.revision,
      isInSync: snapshot.isInSync || snapshot.isRemembered === true,
      isComplete,
      namespaces: namespacesOf(snapshot),
      services,
      removed,
      ...(pods && { pods }),
    };
  }

  #podsOf({ pods }: Snapshot): string[] | undefined {
    if (!this.#withPods || pods === this.#sentPods) return undefined;
    this.#sentPods = pods;
    return [...pods.values()].flatMap((pod) => pod.ips.map((ip) => objectKey(pod.namespace, ip)));
  }
}

function groupsOf(snapshot: Snapshot): Map<string, Group> {
  const slices = new Map<string, EndpointSlice[]>();
  for (const slice of snapshot.endpointSlices.values()) {
    const key = objectKey(slice.namespace, slice.serviceName);
    const list = slices.get(key);
    if (list === undefined) slices.set(key, [slice]);
    else list.push(slice);
  }
  return new Map(
    snapshot.services.values().map((service): [string, Group] => {
      const key = objectKey(service.namespace, service.name);
      return [key, { service, slices: slices.get(key) ?? [] }];
    }),
  );
}

const isSameGroup = (a: Group, b: Group): boolean =>
  isSame(a.service, b.service) &&
  a.slices.length === b.slices.length &&
  a.slices.every((slice, i) => isSame(slice, b.slices[i]));

const isSame = (a: unknown, b: unknown): boolean => a === b || isDeepStrictEqual(a, b);

const zoneService = ({ service, slices }: Group): ZoneService => ({
  service,
  slices: slices.map(zoneSlice),
});

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
