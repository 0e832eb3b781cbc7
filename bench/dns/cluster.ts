// The same cluster for every server: services with an address each, a hundred to a namespace.
import type { Service, Snapshot } from "../../core/cluster/model.ts";
import { aSnapshot, ip } from "../../test/support/builders.ts";

export interface NamedService {
  readonly name: string;
  readonly namespace: string;
  readonly address: string;
}

export const servicesOf = (count: number): readonly NamedService[] =>
  Array.from({ length: count }, (_, i) => ({
    name: `svc-${String(i).padStart(5, "0")}`,
    namespace: `ns-${String(Math.floor(i / 100)).padStart(3, "0")}`,
    address: `10.${96 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}`,
  }));

export const fullName = ({ name, namespace }: NamedService): string =>
  `${name}.${namespace}.svc.cluster.local`;

export function snapshotOf(services: readonly NamedService[], revision = 1): Snapshot {
  const all = services.map(({ name, namespace, address }): Service => ({
    name,
    namespace,
    type: "ClusterIP",
    clusterIps: [ip(address)],
    isHeadless: false,
    ports: [{ name: "http", protocol: "tcp", port: 80 }],
  }));
  const namespaces = [...new Set(services.map(({ namespace }) => namespace))];
  return aSnapshot({ services: all, namespaces: namespaces.map((name) => ({ name })), revision });
}

/** What a load asks, one query a line, as dnsperf reads it. */
export const loads = ["hit", "nodata", "nxdomain", "walk", "outside", "search"] as const;
export type Load = (typeof loads)[number];

export const outsideNames: readonly string[] = Array.from(
  { length: 200 },
  (_, i) => `www-${i}.example.org`,
);

/** Where {@link Load} "search" comes from, and its resolv.conf. */
export const searchingAddress = "127.0.0.2";
export const searchDomains: readonly string[] = [
  "ns-000.svc.cluster.local",
  "svc.cluster.local",
  "cluster.local",
];

/** `count` queries in an order that is random, and always the same. */
export function queriesOf(load: Load, services: readonly NamedService[], count: number): string[] {
  let state = 1;
  const below = (limit: number): number => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return (state >>> 8) % limit;
  };
  const service = (): NamedService => services[below(services.length)]!;
  const walk = (): string => {
    const name = fullName(service());
    const { namespace } = service();
    // What a pod asks with ndots:5 before the name itself, and then for both families.
    const kind = below(20);
    if (kind < 9) return `${name} A`;
    if (kind < 13) return `${name} AAAA`;
    return `${outsideNames[below(outsideNames.length)]}.${namespace}.svc.cluster.local A`;
  };
  const lines: Record<Load, () => string> = {
    hit: () => `${fullName(service())} A`,
    nodata: () => `${fullName(service())} AAAA`,
    nxdomain: () => `no-${below(1_000_000)}.${service().namespace}.svc.cluster.local A`,
    walk,
    outside: () => `${outsideNames[below(outsideNames.length)]} A`,
    // Of one pod: what it asks first, of its whole walk.
    search: () => `${outsideNames[below(outsideNames.length)]}.${searchDomains[0]} A`,
  };
  return Array.from({ length: count }, lines[load]);
}
