// Where other plugins keep the leases of pods that run on this node.
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { Cidr } from "../../core/address.ts";
import { cidrContains } from "../../core/address.ts";
import { hasErrno } from "../../core/error.ts";
import { type FlannelSubnets, parseSubnetEnv } from "../../core/flannel.ts";
import { networksIn } from "../../ipam/inspect.ts";

export interface FlannelPlaces {
  /** `/run/flannel/subnet.env` */
  readonly subnetEnv: string;
  /** `/var/lib/cni/flannel`: the configuration of each pod, as flannel's plugin handed it on. */
  readonly delegates: string;
  /** `/etc/cni/net.d` */
  readonly confDir: string;
  /** `/var/lib/cni/networks` */
  readonly leases: string;
}

export const flannelPlaces = {
  subnetEnv: "/run/flannel/subnet.env",
  delegates: "/var/lib/cni/flannel",
} as const;

/** What every flannel manifest calls its network. */
const usualNetwork = "cbr0";

export interface Sources {
  /** Directories of networks, each once. */
  readonly directories: readonly string[];
  /** What must be put right before all of it fits. */
  readonly problems: readonly string[];
}

/** The networks of host-local: those named, else all but our own. */
export function hostLocalSources(
  dataDir: string,
  { named, own }: { readonly named: readonly string[]; readonly own: string | undefined },
): Sources {
  const known = networksIn(dataDir);
  const missing = named.filter((name) => !known.includes(name));
  if (missing.length > 0) {
    const list = known.length === 0 ? "none" : known.join(", ");
    throw new Error(`Cannot find network ${missing.join(", ")} in ${dataDir}: there is ${list}`);
  }
  const names = named.length > 0 ? named : known.filter((name) => name !== own);
  return { directories: names.map((name) => join(dataDir, name)), problems: [] };
}

/** flannel's networks, by the configurations it handed on, its conflist, and its usual name. */
export function flannelSources(
  places: FlannelPlaces,
  node: {
    readonly name: string;
    readonly podCidrs: readonly Cidr[];
    readonly cluster: readonly Cidr[];
  },
): Sources {
  const found = [
    ...filesIn(places.delegates).flatMap((path) => networkIn(readJson(path), places.leases)),
    ...filesIn(places.confDir).flatMap((path) => flannelNetworkIn(readJson(path), places.leases)),
    join(places.leases, usualNetwork),
  ];
  const directories = [...new Set(found)].filter((directory) => existsSync(directory));
  return { directories, problems: subnetProblems(readSubnetEnv(places.subnetEnv), node) };
}

function readSubnetEnv(path: string): FlannelSubnets {
  try {
    return parseSubnetEnv(readFileSync(path, "utf8"));
  } catch (cause) {
    if (!hasErrno(cause, "ENOENT")) throw cause;
    throw new Error(
      `Cannot find flannel's "${path}": flannel has not run on this node since it started`,
      {
        cause,
      },
    );
  }
}

function subnetProblems(
  { networks, subnets }: FlannelSubnets,
  { name, podCidrs, cluster }: Parameters<typeof flannelSources>[1],
): readonly string[] {
  const isIn = (outer: readonly Cidr[], inner: Cidr): boolean =>
    outer.some((cidr) => cidrContains(cidr, inner));
  return [
    ...networks
      .filter((network) => !isIn(cluster, network))
      .map(
        (network) =>
          `flannel's network ${network} is not inside fairlead's ${cluster.join(", ")}: expected it in network.podCIDRs or a pool`,
      ),
    ...subnets
      .filter((subnet) => !isIn(podCidrs, subnet))
      .map(
        (subnet) =>
          `flannel's subnet ${subnet} is in none of this node's pod CIDRs (${podCidrs.join(", ") || "none"}): add it to spec.podCIDRs of Node ${name}`,
      ),
  ];
}

function filesIn(directory: string): readonly string[] {
  try {
    return readdirSync(directory, { withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map(({ name }) => join(directory, name))
      .sort();
  } catch (cause) {
    if (hasErrno(cause, "ENOENT")) return [];
    throw cause;
  }
}

// flannel's own files and the operator's: what is no JSON says nothing.
function readJson(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, "utf8"));
  } catch {
    return undefined;
  }
}

function networkIn(conf: unknown, leases: string): readonly string[] {
  if (!isObject(conf) || typeof conf["name"] !== "string") return [];
  const { name, ipam } = conf;
  if (!/^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(name)) return [];
  const dataDir = isObject(ipam) && typeof ipam["dataDir"] === "string" ? ipam["dataDir"] : leases;
  return [join(dataDir, name)];
}

function flannelNetworkIn(conf: unknown, leases: string): readonly string[] {
  if (!isObject(conf)) return [];
  const plugins: readonly unknown[] = Array.isArray(conf["plugins"]) ? conf["plugins"] : [conf];
  const flannel = plugins.find((plugin) => isObject(plugin) && plugin["type"] === "flannel");
  if (!isObject(flannel)) return [];
  return networkIn({ ...flannel, name: conf["name"] }, leases);
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
