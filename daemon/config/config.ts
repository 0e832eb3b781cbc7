// The daemon's configuration: YAML → schema → Config, or every problem of the file at once.
import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import type { AddressSpan } from "../../core/address-span.ts";
import type { Cidr, Ip } from "../../core/address.ts";
import { ConfigError, hasErrno } from "../../core/error.ts";
import type { IfName } from "../../core/names.ts";
import { paths } from "../../core/paths.ts";
import type { Pool } from "../../core/pool.ts";
import type { CacheSettings } from "../../dns/handlers/cache.ts";
import type { Upstream } from "../../dns/handlers/settings.ts";
import type { ClientLimits } from "../../dns/handlers/settings.ts";
import type { SiteNamesText } from "../../dns/handlers/site-names.ts";
import type { QueryLogSettings } from "../../dns/respond/query-log.ts";
import { checkKeys, type Problem, validate } from "../files/validate.ts";
import { parseYaml, type YamlDocument } from "../files/yaml-file.ts";
import { contradictions, contradictionsInPart } from "./config-contradictions.ts";
import { type ConfigFile, configSchema, type Listen } from "./config-schema.ts";
import { readablePart } from "./readable-part.ts";

export type { Listen } from "./config-schema.ts";

export interface Config {
  readonly nodeName: string;
  readonly cluster: { readonly source: ClusterSource; readonly removalGraceSeconds: number };
  readonly cni: { readonly confDir: string };
  readonly network: NetworkConfig;
  readonly dns: DnsConfig;
  readonly metrics: { readonly listen: Listen };
  readonly log: { readonly level: ConfigFile["log"]["level"] };
}

/** Where the cluster is read from. */
export type ClusterSource =
  | { readonly kind: "file"; readonly directory: string }
  | ({ readonly kind: "etcd" } & EtcdConfig)
  /** Without a kubeconfig, by the service account of the daemon's pod. */
  | {
      readonly kind: "kubernetes";
      readonly kubeconfig?: string;
      /** Nodes give themselves their pod CIDRs. */
      readonly allocatePodCidrs: boolean;
    };

export interface EtcdConfig {
  readonly endpoints: readonly string[];
  /** Without a slash at its end. */
  readonly prefix: string;
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly user?: string;
  readonly passwordFile?: string;
  readonly leaseSeconds: { readonly node: number; readonly names: number };
}

export type Backend = ConfigFile["network"]["backend"];

export interface NetworkConfig {
  readonly name: string;
  /** Of the default pool: at most one per family. */
  readonly podCidrs: readonly Cidr[];
  readonly pools: readonly PoolConfig[];
  readonly nodePrefixLength: { readonly ipv4: number; readonly ipv6: number };
  readonly serviceCidrs: readonly Cidr[];
  readonly ipam: {
    /** Addresses that no pod gets. */
    readonly reserved: readonly AddressSpan[];
    readonly quarantineSeconds: number;
    readonly sticky: boolean;
    readonly leaseGraceSeconds: number;
  };
  readonly backend: Backend;
  readonly vxlan: {
    readonly vni: number;
    readonly port: number;
    readonly checksumOffload: boolean;
  };
  readonly interface: "auto" | IfName;
  /** Octets, of pod interfaces. */
  readonly mtu: "auto" | number;
  readonly masquerade: { readonly isEnabled: boolean; readonly except: readonly Cidr[] };
}

export interface PoolConfig extends Pool {
  /** Their pods' addresses are of this pool. */
  readonly namespaces: readonly string[];
  readonly nodePrefixLength: { readonly ipv4: number; readonly ipv6: number };
}

/** Every network that pods have addresses of. */
export const podNetworks = ({
  podCidrs,
  pools,
}: Pick<NetworkConfig, "podCidrs" | "pools">): readonly Cidr[] => [
  ...podCidrs,
  ...pools.flatMap(({ cidrs }) => cidrs),
];

export interface DnsConfig {
  readonly isEnabled: boolean;
  readonly domain: string;
  /** Seconds. */
  readonly ttl: number;
  readonly pods: ConfigFile["dns"]["pods"];
  readonly addresses: readonly Ip[];
  /** Whether queries come here ahead of what else has rules for the addresses. */
  readonly isAhead: boolean;
  readonly upstreams: "auto" | readonly Upstream[];
  readonly forward: {
    readonly mixCase: boolean;
    /** The file of the authorities that are trusted; absent: the machine's. */
    readonly caPath?: string;
  };
  readonly log: QueryLogSettings;
  /** Whether pods' search lists are walked for them. */
  readonly autopath: boolean;
  /** Who may ask besides pods and the node. */
  readonly clients: readonly Cidr[];
  readonly limits: ClientLimits;
  /** Of a processor's time. */
  readonly realtimeShare: number;
  readonly cache: CacheSettings;
  readonly site: SiteNamesText;
}

export interface ConfigDefaults {
  /** The node's name where the file gives none. */
  readonly nodeName: string;
}

/**
 * Reads the configuration. Without a path the usual place is read, and a file that is not there
 * means the defaults; a path that was asked for must be there. Throws ConfigError naming the file
 * and each problem in it.
 */
export const loadConfig = (path?: string): Config =>
  configOf(loadConfigFile(path), configDefaults());

/** The name that the kubelet's manifest gives (conf/kubernetes/daemonset.yaml), else the machine's. */
export const configDefaults = (): ConfigDefaults => ({
  nodeName: process.env["FAIRLEAD_NODE_NAME"] ?? hostname().toLowerCase(),
});

/** As {@link loadConfig}, by the keys of the file. */
export function loadConfigFile(path?: string): ConfigFile {
  const where = path ?? paths.config;
  let text: string;
  try {
    text = readFileSync(where, "utf8");
  } catch (cause) {
    if (path === undefined && hasErrno(cause, "ENOENT")) return parseConfigFile("", where);
    throw new ConfigError(where, "Cannot read the configuration", { cause });
  }
  return parseConfigFile(text, where);
}

/** As {@link loadConfig}, of a text. */
export const parseConfig = (text: string, where: string, defaults: ConfigDefaults): Config =>
  configOf(parseConfigFile(text, where), defaults);

function parseConfigFile(text: string, where: string): ConfigFile {
  const file = parseYaml(text);
  const [document = emptyDocument, second] = file.documents;
  const problems: Problem[] = [...file.problems];
  if (second !== undefined) {
    problems.push({ line: second.lineOf([]), message: "Cannot use a second YAML document here" });
  }
  problems.push(...checkKeys(configSchema, document, document.value));
  const checked = validate(configSchema, document, document.value);
  if (checked.kind === "invalid") {
    const readable = readablePart(configSchema, document);
    problems.push(...checked.problems);
    if (readable !== undefined) problems.push(...contradictionsInPart(readable, document));
    throw configError(where, problems);
  }
  problems.push(...contradictions(checked.value, document));
  if (problems.length > 0) throw configError(where, problems);
  return checked.value;
}

const emptyDocument: YamlDocument = { value: {}, lineOf: () => 1 };

function configError(where: string, problems: readonly Problem[]): ConfigError {
  const sorted = [...problems].sort((a, b) => a.line - b.line);
  const [only, ...more] = sorted;
  if (only !== undefined && more.length === 0) {
    return new ConfigError(`${where}:${only.line}`, only.message);
  }
  const lines = sorted.map(({ line, message }) => `\n  line ${line}: ${message}`);
  return new ConfigError(where, `${sorted.length} problems${lines.join("")}`);
}

export const configOf = (file: ConfigFile, defaults: ConfigDefaults): Config => ({
  nodeName: file.nodeName ?? defaults.nodeName,
  cluster: {
    source: sourceOf(file.cluster),
    removalGraceSeconds: file.cluster.removalGraceSeconds,
  },
  cni: file.cni,
  network: {
    name: file.network.name,
    podCidrs: file.network.podCIDRs,
    pools: file.network.pools.map((pool) => ({
      ...pool,
      nodePrefixLength: {
        ipv4: pool.nodePrefixLength.ipv4 ?? file.network.nodePrefixLength.ipv4,
        ipv6: pool.nodePrefixLength.ipv6 ?? file.network.nodePrefixLength.ipv6,
      },
    })),
    nodePrefixLength: file.network.nodePrefixLength,
    serviceCidrs: file.network.serviceCIDRs,
    ipam: file.network.ipam,
    backend: file.network.backend,
    vxlan: file.network.vxlan,
    interface: file.network.interface,
    mtu: file.network.mtu,
    masquerade: {
      isEnabled: file.network.masquerade.enabled,
      except: file.network.masquerade.except,
    },
  },
  dns: {
    isEnabled: file.dns.enabled,
    domain: file.dns.domain,
    ttl: file.dns.ttl,
    pods: file.dns.pods,
    addresses: file.dns.addresses,
    isAhead: file.dns.ahead,
    autopath: file.dns.autopath,
    clients: file.dns.clients,
    limits: file.dns.limits,
    realtimeShare: file.dns.realtimeShare,
    upstreams: file.dns.upstreams,
    forward: {
      mixCase: file.dns.forward.mixCase,
      ...(file.dns.forward.ca !== undefined && { caPath: file.dns.forward.ca }),
    },
    log: file.dns.log,
    cache: file.dns.cache,
    site: {
      stubs: file.dns.stubs,
      hosts: file.dns.hosts,
      rewrite: file.dns.rewrite,
      ttls: file.dns.ttls,
    },
  },
  metrics: file.metrics,
  log: file.log,
});

function sourceOf({ source, file, etcd, kubernetes }: ConfigFile["cluster"]): ClusterSource {
  switch (source) {
    case "file":
      return { kind: "file", directory: file.directory };
    case "etcd":
      return { kind: "etcd", ...etcdOf(etcd) };
    case "kubernetes":
      return {
        kind: "kubernetes",
        ...(kubernetes.kubeconfig !== undefined && { kubeconfig: kubernetes.kubeconfig }),
        allocatePodCidrs: kubernetes.allocatePodCIDRs,
      };
  }
}

const etcdOf = ({
  leaseSeconds: names,
  nodeLeaseSeconds: node,
  ...rest
}: ConfigFile["cluster"]["etcd"]): EtcdConfig => ({ ...rest, leaseSeconds: { node, names } });

/** Of manifests. Throws where the cluster is elsewhere, for who would write or read them. */
export function manifestDirectory({ source }: Config["cluster"]): string {
  if (source.kind === "file") return source.directory;
  throw new Error(
    `Cannot find the cluster's manifests: cluster.source is ${source.kind}: expected file, or --cluster DIR`,
  );
}
