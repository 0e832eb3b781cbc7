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

/** Records of services that were asked for. Who was made longest ago leaves first. */
class KeptRecords {
  readonly #most: number;
  readonly #records = new Map<IndexedService, ServiceRecords>();

  constructor(most: number) {
    this.#most = most;
  }

  get(service: IndexedService, make: () => ServiceRecords): ServiceRecords {
    const kept = this.#records.get(service);
    if (kept !== undefined) return kept;
    const [oldest] = this.#records.keys();
    if (oldest !== undefined && this.#records.size >= this.#most) this.#records.delete(oldest);
    const made = make();
    this.#records.set(service, made);
    return made;
  }

  forget(service: IndexedService): void {
    this.#records.delete(service);
  }

  clear(): void {
    this.#records.clear();
  }
}

/** A service under its name in the zone. Records are made when first asked for. */
export class IndexedService {
  readonly name: Name;
  readonly isHeadless: boolean;
  /** JSON: as objects it takes three times the memory, for each service of the cluster. */
  readonly #source: string;
  readonly #isWithheld: IsWithheld;
  readonly #kept: KeptRecords;

  constructor(source: ZoneService, name: Name, isWithheld: IsWithheld, kept: KeptRecords) {
    this.#source = JSON.stringify(source);
    this.name = name;
    this.isHeadless = source.service.isHeadless;
    this.#isWithheld = isWithheld;
    this.#kept = kept;
  }

  get source(): ZoneService {
    return JSON.parse(this.#source);
  }

  get records(): ServiceRecords {
    return this.#kept.get(this, () => serviceRecords(this.#withoutWithheld(), this.name));
  }

  /** Other endpoints are withheld now. */
  forgetRecords(): void {
    this.#kept.forget(this);
  }

  // As endpoints that are not ready.
  #withoutWithheld(): ZoneService {
    const { source } = this;
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

/** The services of a zone, found by name and by address. */
export class ServiceIndex {
  readonly #domain: Name;
  readonly #isWithheld: IsWithheld;
  readonly #services = new Map<string, IndexedService>();
  /** By address the keys of the services that have it, as cluster IP or as endpoint. */
  readonly #byAddress = new Map<Ip, readonly string[]>();
  readonly #kept: KeptRecords;

  /** `mostRecords`: of how many services the records are kept. */
  constructor(domain: Name, isWithheld: IsWithheld, mostRecords: number) {
    this.#domain = domain;
    this.#isWithheld = isWithheld;
    this.#kept = new KeptRecords(mostRecords);
  }

  get(namespace: string, name: string): IndexedService | undefined {
    return this.#services.get(objectKey(namespace, name));
  }

  /** Every name that the address has, each once. */
  namesOf(address: Ip): Name[] {
    if (this.#isWithheld(address)) return [];
    const keys = this.#byAddress.get(address) ?? [];
    const services = keys.flatMap((key) => this.#services.get(key) ?? []);
    return [...new Set(services.flatMap((service) => namesWithin(service, address)))];
  }

  /** Whether these are withheld is another matter now. The keys of the services that have them. */
  refresh({ addresses, networks }: WithheldChange): ReadonlySet<string> {
    const within =
      networks.length === 0
        ? []
        : this.#byAddress
            .keys()
            .filter((address) => networks.some((network) => cidrContains(network, address)));
    const keys = new Set<string>();
    for (const address of [...addresses, ...within]) {
      for (const key of this.#byAddress.get(address) ?? []) {
        this.#services.get(key)?.forgetRecords();
        keys.add(key);
      }
    }
    return keys;
  }

  /** Adds the service, or takes the place of what has its name. */
  set(source: ZoneService): void {
    const { namespace, name } = source.service;
    const key = objectKey(namespace, name);
    this.remove(key);
    const wire = joinName([name, namespace, "svc"], this.#domain);
    if (wire === undefined) return;
    this.#services.set(key, new IndexedService(source, wire, this.#isWithheld, this.#kept));
    for (const address of addressesOf(source)) {
      this.#byAddress.set(address, [...(this.#byAddress.get(address) ?? []), key]);
    }
  }

  remove(key: string): void {
    const service = this.#services.get(key);
    if (service === undefined) return;
    this.#services.delete(key);
    service.forgetRecords();
    for (const address of addressesOf(service.source)) {
      const others = (this.#byAddress.get(address) ?? []).filter((other) => other !== key);
      if (others.length === 0) this.#byAddress.delete(address);
      else this.#byAddress.set(address, others);
    }
  }

  clear(): void {
    this.#services.clear();
    this.#byAddress.clear();
    this.#kept.clear();
  }
}

function namesWithin({ source, name }: IndexedService, address: Ip): Name[] {
  const hosts = source.slices
    .flatMap((slice) => slice.endpoints)
    .filter(({ addresses }) => addresses.includes(address))
    .flatMap((endpoint) => joinName([hostLabel(endpoint, address)], name) ?? []);
  return source.service.clusterIps.includes(address) ? [name, ...hosts] : hosts;
}

const addressesOf = ({ service, slices }: ZoneService): Set<Ip> =>
  new Set([
    ...service.clusterIps,
    ...slices.flatMap((slice) => slice.endpoints.flatMap(({ addresses }) => addresses)),
  ]);
