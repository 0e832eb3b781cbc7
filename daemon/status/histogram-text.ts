// Histograms that were counted elsewhere, in Prometheus' text format: prom-client's own only count by
// themselves.
import type { HistogramReading } from "../../dns/server.ts";

export interface HistogramMetric {
  readonly name: string;
  readonly help: string;
  readonly samples: readonly {
    readonly labels: Readonly<Record<string, string>>;
    readonly reading: HistogramReading;
  }[];
}

export const formatHistogram = ({ name, help, samples }: HistogramMetric): string =>
  [
    `# HELP ${name} ${help}`,
    `# TYPE ${name} histogram`,
    ...samples.flatMap(({ labels, reading: { buckets, count, sum } }) => [
      ...buckets.map((bucket) => {
        const le = { le: String(bucket.atMost) };
        return `${name}_bucket${formatLabels({ ...labels, ...le })} ${bucket.count}`;
      }),
      `${name}_bucket${formatLabels({ ...labels, le: "+Inf" })} ${count}`,
      `${name}_sum${formatLabels(labels)} ${sum}`,
      `${name}_count${formatLabels(labels)} ${count}`,
    ]),
    "",
  ].join("\n");

const formatLabels = (labels: Readonly<Record<string, string>>): string =>
  Object.keys(labels).length === 0
    ? ""
    : `{${Object.entries(labels)
        .map(([key, value]) => `${key}="${value.replace(/["\\\n]/g, "_")}"`)
        .join(",")}}`;
