import { describe, expect, test } from "vitest";
import { settleMembership } from "../../core/cluster/membership.ts";
import { planNode } from "../../core/desired/plan.ts";
import { RepairLedger } from "../../core/repair-ledger.ts";
import type { PoolStatus } from "../../core/status.ts";
import { version } from "../../core/version.ts";
import { SharedTraffic } from "../../dns/observe/traffic.ts";
import { SharedUpstreamStats } from "../../dns/upstream/upstream-stats.ts";
import { aSnapshot, cidr, ifName, interfaceCidr, ip } from "../../test/support/builders.ts";
import { nodeA, nodeB, nodeC } from "../../test/support/overlay.ts";
import { createFakeSource } from "../../test/support/source.ts";
import { parseConfig } from "../config/config.ts";
import { planSettings } from "../daemon.ts";
import { formatMetrics } from "./metrics.ts";
import { buildReport, type ReportInput } from "./report.ts";

const config = parseConfig("", "test", { nodeName: "node-a" });
const snapshot = aSnapshot({ nodes: [nodeA, nodeB, nodeC] });
const eth0 = ifName("eth0");
const plan = planNode({
  settings: planSettings(config),
  membership: settleMembership(snapshot.nodes.values(), config.network.podCidrs),
  links: [
    {
      link: { name: eth0, index: 2, mtu: 1500, isUp: true, group: 0 },
      addresses: [{ device: eth0, ...interfaceCidr("172.30.1.11/24") }],
    },
  ],
  missingNodeHint: "",
});
const counters = {
  losses: 2,
  comparisons: 1,
  passes: 7,
  failures: 1,
  repairs: { link: 0, address: 0, neighbor: 2, fdb: 1, route: 0, nftables: 0, sysctl: 0 },
  lastAtMs: Date.UTC(2026, 0, 31),
  lastMs: 1.5,
};
const dnsCounters = {
  queries: { udp: 5, tcp: 1 },
  responses: { NOERROR: 4 },
  searchWalks: 0,
  forwarded: 1,
  rejected: 2,
  refused: 0,
  limited: 0,
  dropped: 0,
  errors: 0,
  cache: { hits: 3, misses: 1, stale: 0, prefetches: 0, evictions: 0, entries: 1, bytes: 700 },
  restarts: 0,
  newsAge: 0,
};

const pools: readonly PoolStatus[] = [
  {
    pool: "default",
    family: 4,
    podCidrs: [cidr("10.244.1.0/24")],
    size: 244,
    held: 3,
    quarantined: 1,
    reserved: 9,
  },
];

function input(more: Partial<ReportInput> = {}): ReportInput {
  const source = createFakeSource();
  source.set(snapshot);
  return {
    config,
    configProblems: [],
    untold: [],
    source,
    state: {
      snapshot,
      plan,
      isProgrammed: true,
      problems: plan.problems,
      unrouted: new Set<string>(),
    },
    counters,
    ledger: new RepairLedger(),
    files: { isPublished: true, problems: [] },
    dns: {
      counters: dnsCounters,
      listening: [ip("10.96.0.10")],
      upstreams: [{ address: ip("192.0.2.53"), port: 53 }],
      warnings: [],
    },
    addresses: { pools, problems: [] },
    sweep: { freed: [] },
    attachments: { recorded: 3, unmended: [] },
    uptimeMs: 61_499,
    ...more,
  };
}

describe("buildReport()", () => {
  test("names attachments that cannot be mended", () => {
    const said = 'Cannot mend "fl0": ip route add: EEXIST';
    const { problems, isReady } = buildReport(
      input({ attachments: { recorded: 3, unmended: [said] } }),
    );
    expect(problems).toContainEqual({ area: "attachments", message: said });
    expect(isReady).toBe(true);
  });

  test("tells everything of a node that is well", () => {
    expect(buildReport(input())).toEqual({
      version,
      repairs: [],
      sweep: { freed: [] },
      isReady: true,
      problems: [],
      node: {
        name: "node-a",
        network: "fairlead",
        podCidrs: ["10.244.1.0/24"],
        addresses: ["172.30.1.11"],
        interface: "eth0",
        mtu: 1450,
        backend: "auto",
        vni: 1,
        port: 4789,
      },
      peers: [
        { name: "node-b", podCidrs: ["10.244.2.0/24"], addresses: ["172.30.1.12"], path: "direct" },
        { name: "node-c", podCidrs: ["10.244.3.0/24"], addresses: ["172.30.2.13"], path: "vxlan" },
      ],
      source: { kind: "file", location: "/test", revision: 1, isInSync: true },
      reconcile: {
        passes: 7,
        repairs: 3,
        failures: 1,
        lastAt: "2026-01-31T00:00:00.000Z",
        lastMs: 1.5,
      },
      pools,
      attachments: 3,
      dns: {
        isEnabled: true,
        addresses: ["10.96.0.10"],
        domain: "cluster.local",
        upstreams: ["192.0.2.53#53"],
        counters: {
          udpQueries: 5,
          tcpQueries: 1,
          answersNOERROR: 4,
          searchWalks: 0,
          forwarded: 1,
          rejected: 2,
          refused: 0,
          limited: 0,
          dropped: 0,
          errors: 0,
          restarts: 0,
          newsAge: 0,
          cacheHits: 3,
          cacheMisses: 1,
          cacheStale: 0,
          cachePrefetches: 0,
          cacheEvictions: 0,
          cacheEntries: 1,
          cacheBytes: 700,
        },
      },
      uptimeSeconds: 61,
    });
  });

  test("is not ready before the plan is in the kernel and the conflist in its place", () => {
    const half = { snapshot, plan, isProgrammed: false, problems: [], unrouted: new Set<string>() };
    expect(buildReport(input({ state: half })).isReady).toBe(false);
    const files = { isPublished: false, problems: [] };
    expect(buildReport(input({ files })).isReady).toBe(false);
  });

  test("says of a node that the machine has no way to that its pods are not reached", () => {
    const of = buildReport(input()).peers.map(({ name }) => name);
    const unrouted = new Set(of.slice(0, 1));
    const state = { snapshot, plan, isProgrammed: true, problems: [], unrouted };
    const [first, ...others] = buildReport(input({ state })).peers;
    expect(first?.path).toBe("none");
    expect(others).toEqual(buildReport(input()).peers.slice(1));
  });

  test("says what it waits for before the source's first list", () => {
    const source = createFakeSource();
    const { isReady, problems, node } = buildReport(input({ state: undefined, source }));
    expect([isReady, node.podCidrs]).toEqual([false, []]);
    expect(problems).toEqual([
      { area: "source", message: "Waiting for the first list from /test" },
    ]);
  });

  test("names an address on which nobody answers yet", () => {
    const dns = { counters: dnsCounters, listening: [], upstreams: [], warnings: ["no upstream"] };
    expect(buildReport(input({ dns })).problems).toEqual([
      { area: "dns", message: "no upstream" },
      { area: "dns", message: "Cannot answer on 10.96.0.10 yet: it is not bound" },
    ]);
  });
});

describe("queries that are kept from others", () => {
  const ahead = {
    addresses: [ip("10.96.0.10")],
    sinceMs: Date.UTC(2026, 0, 30),
    forMs: 1e6,
    problem: "",
  };
  const reportOf = (state: typeof ahead) => {
    const { dns } = input();
    return buildReport(input({ dns: { ...dns!, ahead: state } }));
  };
  const metricsOf = async (state: typeof ahead) => {
    const facts = { reconcile: counters, fileRepairs: 0, residentBytes: 1, cpuSeconds: 1 };
    return (await formatMetrics({ ...facts, report: reportOf(state) })).split("\n");
  };

  test("are in status and metrics", async () => {
    const { dns, problems } = reportOf(ahead);
    expect(problems).toEqual([]);
    expect(dns.ahead).toEqual({
      addresses: ["10.96.0.10"],
      since: "2026-01-30T00:00:00.000Z",
      others: [],
    });
    expect(await metricsOf(ahead)).toEqual(
      expect.arrayContaining([
        'fairlead_dns_ahead{address="10.96.0.10"} 1',
        "fairlead_dns_ahead_changed_timestamp_seconds 1769731200",
      ]),
    );
  });

  test("and left to them are a problem", async () => {
    const open = { ...ahead, addresses: [], problem: "it hangs" };
    const { problems } = reportOf(open);
    expect(problems).toMatchObject([{ area: "dns", message: expect.stringContaining("it hangs") }]);
    expect(await metricsOf(open)).toContain('fairlead_dns_ahead{address="10.96.0.10"} 0');
  });
});

test("formatMetrics() has the resolver's histograms, and each upstream for itself", async () => {
  const upstreams = new SharedUpstreamStats();
  upstreams.of("192.0.2.53:53").countRequest();
  upstreams.of("192.0.2.53:53").countAnswer(3, 30);
  upstreams.of("tls://192.0.2.54:853").countRequest();
  upstreams.of("tls://192.0.2.54:853").countFailure(1000);
  upstreams.of("tls://192.0.2.54:853").setUp(false, "it is gone");
  const traffic = new SharedTraffic();
  traffic.count("udp", 0.06, 60);
  traffic.count("udp", 30, 1500);
  const text = await formatMetrics({
    report: buildReport(input()),
    reconcile: counters,
    fileRepairs: 0,
    dns: { traffic: () => traffic.read(), upstreams: () => upstreams.read() },
    residentBytes: 1,
    cpuSeconds: 1,
  });
  expect(text.split("\n")).toEqual(
    expect.arrayContaining([
      "# TYPE fairlead_dns_request_duration_seconds histogram",
      'fairlead_dns_request_duration_seconds_bucket{proto="udp",le="0.00005"} 0',
      'fairlead_dns_request_duration_seconds_bucket{proto="udp",le="0.0001"} 1',
      'fairlead_dns_request_duration_seconds_bucket{proto="udp",le="0.032"} 2',
      'fairlead_dns_request_duration_seconds_bucket{proto="udp",le="+Inf"} 2',
      'fairlead_dns_request_duration_seconds_sum{proto="udp"} 0.03006',
      'fairlead_dns_request_duration_seconds_count{proto="tcp"} 0',
      'fairlead_dns_response_size_bytes_bucket{proto="udp",le="100"} 1',
      'fairlead_dns_response_size_bytes_sum{proto="udp"} 1560',
      'fairlead_dns_forward_requests_total{to="192.0.2.53:53"} 1',
      'fairlead_dns_forward_responses_total{to="192.0.2.53:53",rcode="NXDOMAIN"} 1',
      'fairlead_dns_forward_responses_total{to="tls://192.0.2.54:853",rcode="none"} 1',
      'fairlead_dns_forward_up{to="192.0.2.53:53"} 1',
      'fairlead_dns_forward_up{to="tls://192.0.2.54:853"} 0',
      'fairlead_dns_forward_request_duration_seconds_count{to="192.0.2.53:53"} 1',
    ]),
  );
});

test("formatMetrics() is Prometheus' text, every name ours", async () => {
  const text = await formatMetrics({
    report: buildReport(input()),
    reconcile: counters,
    fileRepairs: 4,
    residentBytes: 1e8,
    cpuSeconds: 0.25,
  });
  const samples = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  expect(
    samples.filter((line) => !/^fairlead_[a-z_]+(\{([a-z]+="[^"]*",?)+\})? [\d.e+]+$/.test(line)),
  ).toEqual([]);
  expect(samples).toEqual(
    expect.arrayContaining([
      "fairlead_ready 1",
      "fairlead_reconcile_comparisons_total 1",
      'fairlead_peers{path="vxlan"} 1',
      'fairlead_repairs_total{kind="neighbor"} 2',
      "fairlead_reconcile_losses_total 2",
      'fairlead_repairs_total{kind="file"} 4',
      "fairlead_reconcile_last_duration_seconds 0.0015",
      'fairlead_dns_requests_total{proto="udp"} 5',
      'fairlead_dns_responses_total{rcode="NOERROR"} 4',
      "fairlead_dns_cache_hits_total 3",
      "fairlead_dns_cache_requests_total 4",
      "fairlead_dns_forward_max_concurrent_rejects_total 2",
      "fairlead_dns_cache_bytes 700",
      "fairlead_attachments 3",
      'fairlead_ipam_addresses{pool="default",family="4",state="held"} 3',
      'fairlead_ipam_addresses{pool="default",family="4",state="free"} 240',
      'fairlead_ipam_addresses{pool="default",family="4",state="reserved"} 9',
    ]),
  );
  const named = new Set(samples.map((line) => line.split(/[ {]/)[0]));
  for (const name of named) expect(text).toContain(`# HELP ${name} `);
});
