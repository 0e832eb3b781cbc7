import type { DnsServer } from "../../dns/server.ts";
import type { HistogramMetric } from "./histogram-text.ts";

/** What the resolver counts beside the status: durations and sizes, and each upstream for itself. */
export type DnsTraffic = Pick<DnsServer, "traffic" | "upstreams">;

/** Named after CoreDNS's, with our prefix. */
export function dnsHistograms(dns: DnsTraffic): readonly HistogramMetric[] {
  const traffic = Object.entries(dns.traffic());
  return [
    {
      name: "fairlead_dns_request_duration_seconds",
      help: "From a query's arrival to its answer, by transport.",
      samples: traffic.map(([proto, { durations }]) => ({ labels: { proto }, reading: durations })),
    },
    {
      name: "fairlead_dns_response_size_bytes",
      help: "Octets of answers, by transport.",
      samples: traffic.map(([proto, { sizes }]) => ({ labels: { proto }, reading: sizes })),
    },
    {
      name: "fairlead_dns_forward_request_duration_seconds",
      help: "From a query to an upstream to its answer, or to giving up.",
      samples: dns
        .upstreams()
        .map(({ upstream, durations }) => ({ labels: { to: upstream }, reading: durations })),
    },
  ];
}
