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

/** A service under its name in the zone. Records are made when first asked for, and kept. */
export class IndexedService {
  readonly source: ZoneService;
  readonly name: Name;
  readonly #isWithheld: IsWithheld;
  #records: ServiceRecords | undefined;

  constructor(source: ZoneService, name: Name, isWithheld: IsWithheld) {
    this.source = source;
    this.name = name;
    this.#isWithheld = isWithheld;
  }

  get isHeadless(): boolean {
    return this.source.service.isHeadless;
  }

  /** Of 10,000 services, the pods of one node ask for few. */
  get records(): ServiceRecords {
    return (this.#records ??= serviceRecords(this.#withoutWithheld(), this.name));
  }

  /** Other endpoints are withheld now. */
  forgetRecords(): void {
    this.#records = undefined;
  }

  // As endpoints that are not ready.
  #withoutWithheld(): ZoneService {
    const { service, slices } = this.source;
    const isNamed = (address: Ip): boolean => !this.#isWithheld(address);
    const isAsItIs = slices.every(({ endpoints }) =>
      endpoints.every(({ addresses }) => addresses.every(isNamed)),
    );
    if (isAsItIs) return this.source;
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
  /** Address → keys of the services that have it, as cluster IP or as endpoint. */
  readonly #byAddress = new Map<Ip, readonly string[]>();

  constructor(domain: Name, isWithheld: IsWithheld) {
    this.#domain = domain;
    this.#isWithheld = isWithheld;
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
    this.#services.set(key, new IndexedService(source, wire, this.#isWithheld));
    for (const address of addressesOf(source)) {
      this.#byAddress.set(address, [...(this.#byAddress.get(address) ?? []), key]);
    }
  }

  remove(key: string): void {
    const service = this.#services.get(key);
    if (service === undefined) return;
    this.#services.delete(key);
    for (const address of addressesOf(service.source)) {
      const others = (this.#byAddress.get(address) ?? []).filter((other) => other !== key);
      if (others.length === 0) this.#byAddress.delete(address);
      else this.#byAddress.set(address, others);
    }
  }

  clear(): void {
    this.#services.clear();
    this.#byAddress.clear();
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
