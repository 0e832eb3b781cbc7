// What each key of fairlead.yaml alone cannot show: values that do not fit together.
import {
  type Cidr,
  cidrContains,
  cidrPrefixLength,
  cidrsOverlap,
  familyOf,
} from "../../core/address.ts";
import { defaultPool } from "../../core/pool.ts";
import { specialNetworks } from "../../core/special-networks.ts";
import type { Problem } from "../files/validate.ts";
import { formatPath, formatValue, type Path, type YamlDocument } from "../files/yaml-file.ts";
import type { ConfigFile } from "./config-schema.ts";
import { checkDns, type Report } from "./dns-contradictions.ts";
import type { ReadablePart } from "./readable-part.ts";

/** Networks that pods have addresses of, and the key that says so. */
interface PodNetwork {
  readonly cidr: Cidr;
  readonly key: string;
  readonly path: Path;
}

export function contradictions(file: ConfigFile, document: YamlDocument): readonly Problem[] {
  const problems: Problem[] = [];
  findContradictions(file, (path, value, expected) => {
    problems.push({ line: document.lineOf(path), message: refusal(path, value, expected) });
  });
  return problems;
}

/** Where a key itself is what is wrong, the path has said it. */
const refusal = (path: Path, value: unknown, expected: string): string =>
  `Cannot use ${formatPath(path)}${path.at(-1) === value ? "" : ` ${formatValue(value)}`}: expected ${expected}`;

/** Those of a file of which a part cannot be read: none that rests on a default in place of that. */
export function contradictionsInPart(
  { value, isLeftOut, original }: ReadablePart<ConfigFile>,
  document: YamlDocument,
): readonly Problem[] {
  const { network, dns } = value;
  const lengths = network.nodePrefixLength;
  const known = {
    ...value,
    network: {
      ...network,
      podCIDRs: isLeftOut(["network", "podCIDRs"]) ? [] : network.podCIDRs,
      // The longest fit any network.
      nodePrefixLength: {
        ipv4: isLeftOut(["network", "nodePrefixLength", "ipv4"]) ? 32 : lengths.ipv4,
        ipv6: isLeftOut(["network", "nodePrefixLength", "ipv6"]) ? 128 : lengths.ipv6,
      },
    },
    dns: {
      ...dns,
      domain: isLeftOut(["dns", "domain"]) ? noDomain : dns.domain,
      // What cannot be read may be the upstream that it is for.
      forward: { ...dns.forward, ca: undefined },
    },
  };
  const problems: Problem[] = [];
  findContradictions(known, (path, found, expected) => {
    const at = original(path);
    if (isLeftOut(at)) return;
    problems.push({ line: document.lineOf(at), message: refusal(at, found, expected) });
  });
  return problems;
}

/** No name lies in it. */
const noDomain = "/";

function findContradictions(file: ConfigFile, report: Report): void {
  const { network, dns, cluster } = file;
  checkEtcd(cluster.etcd, report);
  const podNetworks = podNetworksOf(network);
  checkPrefixLengths(network, report);
  checkPools(network, report);
  podNetworks.forEach(({ cidr, path }, i) => {
    const other = podNetworks.slice(0, i).find((earlier) => cidrsOverlap(earlier.cidr, cidr));
    if (other !== undefined && path[1] === "pools") {
      report(path, cidr, `a network outside ${other.key} ${other.cidr}`);
    }
  });
  podNetworks.forEach(({ cidr, path }) => {
    const special = specialNetworks.find((one) => cidrsOverlap(one.cidr, cidr));
    if (special === undefined) return;
    report(path, cidr, `a network outside ${special.cidr}, which is ${special.what}`);
  });
  network.serviceCIDRs.forEach((serviceCidr, i) => {
    const other = podNetworks.find(({ cidr }) => cidrsOverlap(cidr, serviceCidr));
    if (other === undefined) return;
    const expected = `a network outside ${other.key} ${other.cidr}`;
    report(["network", "serviceCIDRs", i], serviceCidr, expected);
  });
  dns.addresses.forEach((address, i) => {
    const around = podNetworks.find(({ cidr }) => cidrContains(cidr, address));
    if (around === undefined) return;
    report(["dns", "addresses", i], address, `an address outside ${around.key} ${around.cidr}`);
  });
  checkDns(dns, report);
}

const podNetworksOf = ({ podCIDRs, pools }: ConfigFile["network"]): readonly PodNetwork[] => [
  ...podCIDRs.map((cidr, i) => ({ cidr, key: "podCIDRs", path: ["network", "podCIDRs", i] })),
  ...pools.flatMap((pool, i) =>
    pool.cidrs.map((cidr, j) => ({
      cidr,
      key: `pool ${pool.name}`,
      path: ["network", "pools", i, "cidrs", j],
    })),
  ),
];

const familyKey = (cidr: Cidr): "ipv4" | "ipv6" => (familyOf(cidr) === 4 ? "ipv4" : "ipv6");

function checkPrefixLengths(network: ConfigFile["network"], report: Report): void {
  const check = (path: Path, length: number, cidr: Cidr): void => {
    const least = cidrPrefixLength(cidr);
    if (length < least) {
      report([...path, familyKey(cidr)], length, `${least} or more, as in ${cidr}`);
    }
  };
  for (const cidr of network.podCIDRs) {
    const length = network.nodePrefixLength[familyKey(cidr)];
    check(["network", "nodePrefixLength"], length, cidr);
  }
  network.pools.forEach(({ cidrs, nodePrefixLength }, i) => {
    for (const cidr of cidrs) {
      const length = nodePrefixLength[familyKey(cidr)] ?? network.nodePrefixLength[familyKey(cidr)];
      check(["network", "pools", i, "nodePrefixLength"], length, cidr);
    }
  });
}

function checkEtcd(etcd: ConfigFile["cluster"]["etcd"], report: Report): void {
  const needs = { cert: "key", key: "cert", passwordFile: "user" } as const;
  for (const key of ["cert", "key", "passwordFile"] as const) {
    const value = etcd[key];
    if (value === undefined || etcd[needs[key]] !== undefined) continue;
    report(["cluster", "etcd", key], value, `${needs[key]} with it`);
  }
  const isSecure = etcd.endpoints.some((endpoint) => endpoint.startsWith("https:"));
  if (etcd.ca !== undefined && !isSecure) {
    report(["cluster", "etcd", "ca"], etcd.ca, "an endpoint with https");
  }
}

function checkPools({ pools }: ConfigFile["network"], report: Report): void {
  pools.forEach(({ name, namespaces }, i) => {
    const isRepeated = pools.slice(0, i).some((earlier) => earlier.name === name);
    if (name === defaultPool) {
      report(["network", "pools", i, "name"], name, "another name: that is the pool of podCIDRs");
    } else if (isRepeated) {
      report(["network", "pools", i, "name"], name, "a name of its own for each pool");
    }
    namespaces.forEach((namespace, j) => {
      const other = pools.slice(0, i).find((earlier) => earlier.namespaces.includes(namespace));
      if (other === undefined) return;
      const expected = `a namespace that no other pool has: ${other.name} has it`;
      report(["network", "pools", i, "namespaces", j], namespace, expected);
    });
  });
}
