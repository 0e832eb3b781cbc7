import { type Ip, isIpv4 } from "../../core/address.ts";
import type { EndpointPort, Protocol, Service } from "../../core/cluster/model.ts";
import { type RecordData, RecordType } from "../message/message.ts";
import { foldName, joinName, type Name, parseName } from "../message/name.ts";

/** A service with what of its endpoint slices the zone needs: the ready endpoints. */
export interface ZoneService {
  readonly service: Service;
  readonly slices: readonly ZoneSlice[];
}

export interface ZoneSlice {
  readonly ports: readonly EndpointPort[];
  readonly endpoints: readonly ZoneEndpoint[];
}

export interface ZoneEndpoint {
  readonly addresses: readonly Ip[];
  readonly hostname?: string;
}

/** What stands at one name: data by record type. Empty where only names below it exist. */
export type RecordSets = ReadonlyMap<number, readonly RecordData[]>;

const nothing: RecordSets = new Map();

/** All names of one service. */
export interface ServiceRecords {
  /** Undefined: the name does not exist (a headless service without a ready endpoint). */
  readonly own: RecordSets | undefined;
  /** By the label in front of the service's name. */
  readonly hosts: ReadonlyMap<string, RecordSets>;
  /** `_tcp` → `_http` → SRV. */
  readonly ports: ReadonlyMap<string, ReadonlyMap<string, RecordSets>>;
  /** ExternalName: stands in place of all else. */
  readonly alias?: Name;
}

/**
 * The records of one service after the Kubernetes DNS specification 1.1.0, and what CoreDNS serves
 * besides: host names and PTR of a ClusterIP service's endpoints, and at the service's own name the SRV
 * of all ports, also of unnamed ones.
 */
export function serviceRecords(entry: ZoneService, name: Name): ServiceRecords {
  const { service } = entry;
  if (service.type === "ExternalName") return aliasRecords(service.externalName ?? "");
  const hosts = hostsOf(entry);
  const targets = service.isHeadless ? headlessTargets(entry, name) : clusterIpTargets(entry, name);
  const addresses = service.isHeadless ? addressesOf(entry) : service.clusterIps;
  const exists = addresses.length > 0;
  return {
    own: exists ? ownRecords(addresses, targets) : undefined,
    hosts: new Map(hosts.entries().map(([label, ips]) => [label, addressSets(ips)])),
    ports: exists ? portRecords(targets) : new Map(),
  };
}

/** The records at the labels in front of the service's name; undefined: no such name. */
export function recordsAt(
  records: ServiceRecords,
  labels: readonly string[],
): RecordSets | undefined {
  const [first = "", second = ""] = labels;
  switch (labels.length) {
    case 0:
      return records.own;
    case 1:
      // RFC 8020: _tcp has no records of its own, but it exists when a port stands below it.
      return records.hosts.get(first) ?? (records.ports.has(first) ? nothing : undefined);
    case 2:
      return records.ports.get(second)?.get(first);
    default:
      return undefined;
  }
}

/**
 * The label of one address of an endpoint: its host name, else the address with dashes. Neither end
 * may be a dash, so `::` there gets a zero.
 */
export const hostLabel = (endpoint: ZoneEndpoint, address: Ip): string =>
  endpoint.hostname?.toLowerCase() ??
  address.replace(/[.:]/g, "-").replace(/^-/, "0-").replace(/-$/, "-0");

export function addressSets(addresses: readonly Ip[]): RecordSets {
  const sets = new Map<number, RecordData[]>();
  for (const address of addresses) {
    const type = isIpv4(address) ? RecordType.A : RecordType.AAAA;
    const set = sets.get(type);
    if (set === undefined) sets.set(type, [{ kind: "address", address }]);
    else set.push({ kind: "address", address });
  }
  return sets;
}

// A target that is no name gives a service that exists and has no record.
function aliasRecords(externalName: string): ServiceRecords {
  const alias = parseName(externalName);
  const none = { own: nothing, hosts: new Map(), ports: new Map() };
  return alias === undefined ? none : { ...none, alias };
}

interface Target {
  readonly portName: string;
  readonly protocol: Protocol;
  readonly port: number;
  readonly host: Name;
}

const clusterIpTargets = ({ service }: ZoneService, name: Name): Target[] =>
  service.ports.map(({ name: portName = "", protocol, port }) => ({
    portName,
    protocol,
    port,
    host: name,
  }));

function headlessTargets({ slices }: ZoneService, name: Name): Target[] {
  const targets = new Map<string, Target>();
  for (const { ports, endpoints } of slices) {
    for (const host of endpoints.flatMap((endpoint) => hostNames(endpoint, name))) {
      for (const { name: portName = "", protocol, port } of ports) {
        if (port === undefined) continue;
        // A host of both families stands in two slices, but is one target.
        targets.set(`${portName}/${protocol}/${port}/${host}`, { portName, protocol, port, host });
      }
    }
  }
  return [...targets.values()];
}

const hostNames = (endpoint: ZoneEndpoint, name: Name): Name[] =>
  endpoint.addresses.flatMap((address) => joinName([hostLabel(endpoint, address)], name) ?? []);

const addressesOf = ({ slices }: ZoneService): Ip[] => [
  ...new Set(slices.flatMap((slice) => slice.endpoints.flatMap(({ addresses }) => addresses))),
];

function hostsOf({ slices }: ZoneService): Map<string, Ip[]> {
  const hosts = new Map<string, Ip[]>();
  for (const endpoint of slices.flatMap((slice) => slice.endpoints)) {
    for (const address of endpoint.addresses) {
      const label = hostLabel(endpoint, address);
      const host = hosts.get(label) ?? [];
      if (!host.includes(address)) host.push(address);
      hosts.set(label, host);
    }
  }
  return hosts;
}

function ownRecords(addresses: readonly Ip[], targets: readonly Target[]): RecordSets {
  const sets = new Map(addressSets(addresses));
  if (targets.length > 0) sets.set(RecordType.SRV, srvData(targets));
  return sets;
}

function portRecords(targets: readonly Target[]): Map<string, Map<string, RecordSets>> {
  const byProtocol = new Map<string, Map<string, RecordSets>>();
  const named = targets.filter(({ portName }) => portName !== "");
  const groups = Map.groupBy(named, ({ portName, protocol }) => `_${protocol}/_${portName}`);
  for (const [key, group] of groups) {
    const [protocol = "", portName = ""] = key.toLowerCase().split("/");
    const ports = byProtocol.get(protocol) ?? new Map<string, RecordSets>();
    byProtocol.set(protocol, ports.set(portName, new Map([[RecordType.SRV, srvData(group)]])));
  }
  return byProtocol;
}

// Equal shares that add up to about 100, as CoreDNS has them.
function srvData(targets: readonly Target[]): RecordData[] {
  const weight = Math.max(1, Math.floor(100 / targets.length));
  return targets.map(({ port, host }) => ({
    kind: "srv",
    priority: 0,
    weight,
    port,
    target: foldName(host),
  }));
}
