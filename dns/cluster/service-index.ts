import { cidrContains, type Ip } from "../../core/address.ts";
import { objectKey } from "../../core/cluster/model.ts";
import { joinName, type Name } from "../message/name.ts";
import type { WithheldChange } from "./pod-directory.ts";
import {
  hostLabel,
  type ServiceRecords,
  serviceRecords,
  type ZoneService,
} from "./service-records.ts";

/** Whether no answer may name the address: it is a pod's that packets do not reach. */
export type IsWithheld = (address: Ip) => boolean;

/** A service under its name in the zone. */
export interface IndexedService {
  readonly name: Name;
  readonly isHeadless: boolean;
  readonly records: ServiceRecords;
}

interface HeldService {
  readonly source: ZoneService;
  readonly name: Name;
}

/**
 * The services of a zone, found by name and by address. Each is held as JSON text: as objects it takes three
 * times the memory, and of most a node's pods never ask.
 */
export class ServiceIndex {
  readonly #domain: Name;
  readonly #isWithheld: IsWithheld;
  readonly #mostRecords: number;
  /** By key. */
  readonly #sources = new Map<string, string>();
  /** By address the keys of the services that have it, as cluster IP or as endpoint: mostly one. */
  readonly #byAddress = new Map<Ip, string | readonly string[]>();
  /** Those that were asked for. Who was made longest ago leaves first. */
  readonly #made = new Map<string, IndexedService>();

  /** `mostRecords`: of how many services the records are kept. */
  constructor(domain: Name, isWithheld: IsWithheld, mostRecords: number) {
    this.#domain = domain;
    this.#isWithheld = isWithheld;
    this.#mostRecords = mostRecords;
  }

  get(namespace: string, name: string): IndexedService | undefined {
    const key = objectKey(namespace, name);
    const made = this.#made.get(key);
    if (made !== undefined) return made;
    const held = this.#held(key);
    if (held === undefined) return undefined;
    const [oldest] = this.#made.keys();
    if (oldest !== undefined && this.#made.size >= this.#mostRecords) this.#made.delete(oldest);
    const service = {
      name: held.name,
      isHeadless: held.source.service.isHeadless,
      records: serviceRecords(this.#withoutWithheld(held.source), held.name),
    };
    this.#made.set(key, service);
    return service;
  }

  /** Every name that the address has, each once. */
  namesOf(address: Ip): Name[] {
    if (this.#isWithheld(address)) return [];
    const held = this.#keysOf(address).flatMap((key) => this.#held(key) ?? []);
    return [...new Set(held.flatMap((service) => namesWithin(service, address)))];
  }

  /** Whether these are withheld is another matter now. The keys of the services that have them. */
  refresh({ addresses, networks }: WithheldChange): ReadonlySet<string> {
    const within =
      networks.length === 0
        ? []
        : this.#byAddress
            .keys()
            .filter((address) => networks.some((network) => cidrContains(network, address)));
    const keys = new Set([...addresses, ...within].flatMap((address) => this.#keysOf(address)));
    for (const key of keys) this.#made.delete(key);
    return keys;
  }

  /** Adds the service, or takes the place of what has its name. */
  set(source: ZoneService): void {
    const key = objectKey(source.service.namespace, source.service.name);
    this.remove(key);
    if (this.#nameOf(source) === undefined) return;
    this.#sources.set(key, JSON.stringify(source));
    for (const address of addressesOf(source))
      this.#setKeys(address, [...this.#keysOf(address), key]);
  }

  remove(key: string): void {
    const held = this.#held(key);
    if (held === undefined) return;
    this.#sources.delete(key);
    this.#made.delete(key);
    for (const address of addressesOf(held.source)) {
      this.#setKeys(
        address,
        this.#keysOf(address).filter((other) => other !== key),
      );
    }
  }

  clear(): void {
    this.#sources.clear();
    this.#byAddress.clear();
    this.#made.clear();
  }

  #held(key: string): HeldService | undefined {
    const text = this.#sources.get(key);
    if (text === undefined) return undefined;
    const source: ZoneService = JSON.parse(text);
    const name = this.#nameOf(source);
    return name && { source, name };
  }

  // Undefined for what no name can have: such a service is not held.
  #nameOf({ service: { namespace, name } }: ZoneService): Name | undefined {
    return joinName([name, namespace, "svc"], this.#domain);
  }

  #keysOf(address: Ip): readonly string[] {
    const keys = this.#byAddress.get(address) ?? [];
    return typeof keys === "string" ? [keys] : keys;
  }

  #setKeys(address: Ip, keys: readonly string[]): void {
    const [key] = keys;
    if (key === undefined) this.#byAddress.delete(address);
    else this.#byAddress.set(address, keys.length === 1 ? key : keys);
  }

  // As endpoints that are not ready.
  #withoutWithheld(source: ZoneService): ZoneService {
    const { service, slices } = source;
    const isNamed = (address: Ip): boolean => !this.#isWithheld(address);
    const isAsItIs = slices.every(({ endpoints }) =>
      endpoints.every(({ addresses }) => addresses.every(isNamed)),
    );
    if (isAsItIs) return source;
    return {
      service,
      slices: slices.map(({ ports, endpoints }) => ({
        ports,
        endpoints: endpoints
          .map((endpoint) => ({ ...endpoint, addresses: endpoint.addresses.filter(isNamed) }))
          .filter(({ addresses }) => addresses.length > 0),
      })),
    };
  }
}

function namesWithin({ source, name }: HeldService, address: Ip): Name[] {
  const { service, slices } = source;
  const hosts = slices
    .flatMap((slice) => slice.endpoints)
    .filter(({ addresses }) => addresses.includes(address))
    .flatMap((endpoint) => joinName([hostLabel(endpoint, address)], name) ?? []);
  return service.clusterIps.includes(address) ? [name, ...hosts] : hosts;
}

const addressesOf = ({ service, slices }: ZoneService): Set<Ip> =>
  new Set([
    ...service.clusterIps,
    ...slices.flatMap((slice) => slice.endpoints.flatMap(({ addresses }) => addresses)),
  ]);
