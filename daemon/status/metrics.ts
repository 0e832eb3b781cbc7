// Prometheus metrics, all named fairlead_*, made from what is known anyway when somebody asks.
import { Counter, Gauge, Registry } from "prom-client";
import type { StatusReport } from "../../core/status.ts";
import type { ReconcileCounters } from "../reconcile/reconcile.ts";
import { dnsHistograms, type DnsTraffic } from "./dns-histograms.ts";
import { dnsMetrics } from "./dns-metrics.ts";
import { formatHistogram } from "./histogram-text.ts";

export interface MetricFacts {
  readonly report: StatusReport;
  readonly reconcile: ReconcileCounters;
  /** How often node.json or the conflist was put back. */
  readonly fileRepairs: number;
  /** Absent: there is no resolver. */
  readonly dns?: DnsTraffic;
  readonly residentBytes: number;
  readonly cpuSeconds: number;
}

export interface Sample {
  readonly value: number;
  readonly labels?: Readonly<Record<string, string>>;
}

export interface Metric {
  readonly name: string;
  readonly help: string;
  readonly kind: "gauge" | "counter";
  readonly labels?: readonly string[];
  readonly read: (facts: MetricFacts) => number | readonly Sample[];
}

const metrics: readonly Metric[] = [
  {
    name: "fairlead_build_info",
    help: "1, with the version as a label.",
    kind: "gauge",
    labels: ["version"],
    read: ({ report }) => [{ value: 1, labels: { version: report.version } }],
  },
  {
    name: "fairlead_ready",
    help: "1 when pods can be attached.",
    kind: "gauge",
    read: ({ report }) => Number(report.isReady),
  },
  {
    name: "fairlead_source_in_sync",
    help: "1 once the cluster was read completely.",
    kind: "gauge",
    read: ({ report }) => Number(report.source.isInSync),
  },
  {
    name: "fairlead_peers",
    help: "Other nodes, by the way to their pods.",
    kind: "gauge",
    labels: ["path"],
    read: ({ report }) =>
      (["direct", "vxlan", "none"] as const).map((path) => ({
        value: report.peers.filter((peer) => peer.path === path).length,
        labels: { path },
      })),
  },
  {
    name: "fairlead_attachments",
    help: "Attachments on this node.",
    kind: "gauge",
    read: ({ report }) => report.attachments,
  },
  {
    name: "fairlead_ipam_addresses",
    help: "Addresses of this node's blocks, by pool, family and state.",
    kind: "gauge",
    labels: ["pool", "family", "state"],
    read: ({ report }) =>
      report.pools.flatMap(({ pool, family, size, held, quarantined, reserved }) =>
        Object.entries({ held, quarantined, free: size - held - quarantined, reserved }).map(
          ([state, value]) => ({ value, labels: { pool, family: String(family), state } }),
        ),
      ),
  },
  {
    name: "fairlead_problems",
    help: "Problems that the status names, by area.",
    kind: "gauge",
    labels: ["area"],
    read: ({ report }) =>
      (
        [
          "config",
          "source",
          "cluster",
          "node",
          "kernel",
          "cni",
          "attachments",
          "dns",
          "ipam",
        ] as const
      ).map((area) => ({
        value: report.problems.filter((problem) => problem.area === area).length,
        labels: { area },
      })),
  },
  {
    name: "fairlead_repairs_total",
    help: "Objects put back after somebody else changed them, by kind.",
    kind: "counter",
    labels: ["kind"],
    read: ({ reconcile, fileRepairs }) =>
      Object.entries({ ...reconcile.repairs, file: fileRepairs }).map(([kind, value]) => ({
        value,
        labels: { kind },
      })),
  },
  {
    name: "fairlead_reconcile_passes_total",
    help: "Times that something was brought into the kernel, or looked at in it.",
    kind: "counter",
    read: ({ reconcile }) => reconcile.passes,
  },
  {
    name: "fairlead_reconcile_comparisons_total",
    help: "Passes that read and compared everything.",
    kind: "counter",
    read: ({ reconcile }) => reconcile.comparisons,
  },
  {
    name: "fairlead_reconcile_losses_total",
    help: "Times that the kernel's notifications overflowed; each led to a comparison of everything.",
    kind: "counter",
    read: ({ reconcile }) => reconcile.losses,
  },
  {
    name: "fairlead_reconcile_failures_total",
    help: "Comparisons after which something was still missing.",
    kind: "counter",
    read: ({ reconcile }) => reconcile.failures,
  },
  {
    name: "fairlead_reconcile_last_duration_seconds",
    help: "How long the last comparison took.",
    kind: "gauge",
    read: ({ reconcile }) => reconcile.lastMs / 1000,
  },
  ...dnsMetrics,
  {
    name: "fairlead_uptime_seconds",
    help: "Since the daemon started.",
    kind: "gauge",
    read: ({ report }) => report.uptimeSeconds,
  },
  {
    name: "fairlead_resident_memory_bytes",
    help: "Of the daemon's process.",
    kind: "gauge",
    read: ({ residentBytes }) => residentBytes,
  },
  {
    name: "fairlead_cpu_seconds_total",
    help: "User and system time of the daemon's process.",
    kind: "counter",
    read: ({ cpuSeconds }) => cpuSeconds,
  },
];

/** All metrics in Prometheus' text format. */
export async function formatMetrics(facts: MetricFacts): Promise<string> {
  const registry = new Registry();
  for (const { name, help, kind, labels: labelNames = [], read } of metrics) {
    const found = read(facts);
    const samples = typeof found === "number" ? [{ value: found }] : found;
    const configuration = { name, help, labelNames: [...labelNames], registers: [registry] };
    if (kind === "gauge") {
      const gauge = new Gauge(configuration);
      for (const { value, labels } of samples) gauge.set(labels ?? {}, value);
    } else {
      const counter = new Counter(configuration);
      for (const { value, labels } of samples) counter.inc(labels ?? {}, value);
    }
  }
  const histograms = facts.dns === undefined ? [] : dnsHistograms(facts.dns);
  return (await registry.metrics()) + histograms.map(formatHistogram).join("");
}
