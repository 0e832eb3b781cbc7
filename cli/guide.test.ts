import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { dnsHistograms } from "../daemon/status/dns-histograms.ts";
import { dnsMetrics } from "../daemon/status/dns-metrics.ts";

const guide = readFileSync(join(import.meta.dirname, "../docs/guide.md"), "utf8");

const emptyReading = { buckets: [], sum: 0, count: 0 };

/** Plugins of CoreDNS 1.14.7, as its plugin.cfg has them. */
const corednsPlugins =
  `root metadata geoip cancel proxyproto quic grpc_server https https3 timeouts multisocket reload nsid bufsize bind
  debug trace ready health pprof shed prometheus errors log dnstap local dns64 any chaos loadbalance tsig rewrite
  autopath acl cache header dnssec tls minimal template transfer hosts route53 azure clouddns k8s_external kubernetes
  file auto secondary etcd loop forward grpc erratic whoami on sign view nomad`.split(/\s+/);

test("the guide says of every directive of a Corefile what there is in its place", () => {
  const rows = guide.slice(
    guide.indexOf("| Corefile |"),
    guide.indexOf("Metrics have CoreDNS's names"),
  );
  const left = rows.split("\n").map((row) => row.split(" | ")[0] ?? "");
  const missing = corednsPlugins.filter(
    (plugin) => !left.some((cell) => new RegExp(`\`${plugin}[\` ]`).test(cell)),
  );
  expect(missing).toEqual([]);
});

test("the guide names no metric of the resolver that there is not", () => {
  const named = new Set(guide.match(/fairlead_dns_[a-z_]*[a-z]/g));
  const nothing = { durations: emptyReading, sizes: emptyReading };
  const traffic = { traffic: () => ({ udp: nothing, tcp: nothing }), upstreams: () => [] };
  const known = [...dnsMetrics, ...dnsHistograms(traffic)].map(({ name }) => name);
  expect(named.size).toBeGreaterThan(10);
  // `fairlead_dns_forward_…` stands for several.
  const unknown = [...named].filter((name) => !known.some((one) => one.startsWith(name)));
  expect(unknown).toEqual([]);
});

/** What every Linux with the GNU C library has, and the kernel's own. */
const given = /^(ld-linux|linux-vdso|libc$|libdl$|libm$|libpthread$|librt$)/;

test("the guide names every library of the system that Node needs", () => {
  const libraries = execFileSync("ldd", [process.execPath], { encoding: "utf8" })
    .split("\n")
    .flatMap((line) => /^\s*(?:\S*\/)?([^\s/]+?)\.so/.exec(line)?.[1] ?? [])
    .filter((library) => !given.test(library));
  expect(libraries.length).toBeGreaterThan(0);
  expect(libraries.filter((library) => !guide.includes(`\`${library}\``))).toEqual([]);
});
