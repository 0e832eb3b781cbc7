// What does not fit together in the part `dns` of fairlead.yaml.
import { cidrContains, familyOf, type Ip } from "../../core/address.ts";
import { type SpecialNetwork, specialNetworks } from "../../core/special-networks.ts";
import type { Path } from "../files/yaml-file.ts";
import type { ConfigFile } from "./config-schema.ts";

export type Report = (path: Path, value: unknown, expected: string) => void;

type Dns = ConfigFile["dns"];

export function checkDns(dns: Dns, report: Report): void {
  checkAddresses(dns, report);
  checkUpstreams(dns, report);
  checkTls(dns, report);
  const { minTtl, maxTtl } = dns.cache;
  if (minTtl > maxTtl) {
    report(["dns", "cache", "minTtl"], minTtl, `${maxTtl} or less, as dns.cache.maxTtl says`);
  }
  checkSiteNames(dns, report);
}

// A route makes each the node's own. NodeLocal DNSCache has a link-local one of IPv4.
function checkAddresses({ addresses }: Dns, report: Report): void {
  addresses.forEach((address, i) => {
    const path = ["dns", "addresses", i];
    const special = specialWith(
      address,
      (what) => what !== "link-local" || familyOf(address) === 6,
    );
    if (special !== undefined) {
      report(path, address, `an address outside ${special.cidr}, which is ${special.what}`);
    } else if (addresses.indexOf(address) < i) {
      report(path, address, "each address once");
    }
  });
}

function checkUpstreams({ upstreams, stubs }: Dns, report: Report): void {
  const lists: readonly (readonly [Path, Dns["upstreams"]])[] = [
    [["dns", "upstreams"], upstreams],
    ...Object.entries(stubs).map(([name, list]) => [["dns", "stubs", name], list] as const),
  ];
  for (const [path, list] of lists) {
    if (list === "auto") continue;
    list.forEach(({ address }, i) => {
      // The node's own resolver may be on loopback, a cloud's on a link-local address.
      const special = specialWith(address, (what) =>
        what === "link-local" ? familyOf(address) === 6 : what !== "loopback",
      );
      if (special === undefined) return;
      report([...path, i], address, `an address of one server: ${special.cidr} is ${special.what}`);
    });
  }
}

const specialWith = (
  address: Ip,
  isUnfit: (what: SpecialNetwork["what"]) => boolean,
): SpecialNetwork | undefined =>
  specialNetworks.find(({ cidr, what }) => cidrContains(cidr, address) && isUnfit(what));

// Whoever names authorities means to ask over TLS, and would go on in plain.
function checkTls({ forward, upstreams, stubs }: Dns, report: Report): void {
  if (forward.ca === undefined) return;
  const all = [...(upstreams === "auto" ? [] : upstreams), ...Object.values(stubs).flat()];
  if (all.some(({ tls }) => tls !== undefined)) return;
  const expected = "an upstream with tls:// in dns.upstreams or dns.stubs";
  report(["dns", "forward", "ca"], forward.ca, expected);
}

// The cluster's names come first: what else is said of them would never be heard.
function checkSiteNames({ domain, stubs, hosts, rewrite }: Dns, report: Report): void {
  for (const [key, names] of Object.entries({ stubs, hosts })) {
    for (const name of Object.keys(names).filter((name) => `.${name}`.endsWith(`.${domain}`))) {
      report(["dns", key, name], name, `a name outside dns.domain ${domain}`);
    }
  }
  for (const [from, to] of Object.entries(rewrite)) {
    if (from === to) report(["dns", "rewrite", from], to, "another name than the one it is for");
    if (from.startsWith("*.") === to.startsWith("*.")) continue;
    const expected = from.startsWith("*.") ? "*. and a domain, as before it" : "a name without *.";
    report(["dns", "rewrite", from], to, expected);
  }
}
