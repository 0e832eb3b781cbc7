// The resolver's metrics, named after CoreDNS's with our prefix: coredns_cache_hits_total is
// fairlead_dns_cache_hits_total, so that a dashboard needs one replacement.
import type { StatusReport } from "../../core/status.ts";
import type { UpstreamReading } from "../../dns/server.ts";
import type { Metric, Sample } from "./metrics.ts";

type Kind = Metric["kind"];

const one = (kind: Kind, name: string, counter: string, help: string): Metric => ({
  name: `fairlead_dns_${name}`,
  help,
  kind,
  read: ({ report }) => samplesOf(report, [[counter, {}]]),
});

const samplesOf = (
  { dns }: StatusReport,
  wanted: readonly (readonly [string, Readonly<Record<string, string>>])[],
): Sample[] =>
  wanted.flatMap(([counter, labels]) => {
    const value = dns.counters[counter];
    return value === undefined ? [] : [{ value, labels }];
  });

const ofUpstreams =
  (samples: (reading: UpstreamReading) => readonly Sample[]): Metric["read"] =>
  ({ dns }) =>
    (dns?.upstreams() ?? []).flatMap((reading) =>
      samples(reading).map(({ value, labels }) => ({
        value,
        labels: { to: reading.upstream, ...labels },
      })),
    );

export const dnsMetrics: readonly Metric[] = [
  {
    name: "fairlead_dns_requests_total",
    help: "Queries, by transport.",
    kind: "counter",
    labels: ["proto"],
    read: ({ report }) =>
      samplesOf(report, [
        ["udpQueries", { proto: "udp" }],
        ["tcpQueries", { proto: "tcp" }],
      ]),
  },
  {
    name: "fairlead_dns_responses_total",
    help: "Answers, by rcode.",
    kind: "counter",
    labels: ["rcode"],
    read: ({ report }) =>
      samplesOf(
        report,
        Object.keys(report.dns.counters)
          .filter((counter) => counter.startsWith("answers"))
          .map((counter) => [counter, { rcode: counter.slice("answers".length) }]),
      ),
  },
  {
    name: "fairlead_dns_forward_requests_total",
    help: "Queries to upstreams, by upstream.",
    kind: "counter",
    labels: ["to"],
    read: ofUpstreams(({ requests }) => [{ value: requests }]),
  },
  {
    name: "fairlead_dns_forward_responses_total",
    help: "Answers of upstreams, by upstream and rcode; none: there was no answer.",
    kind: "counter",
    labels: ["to", "rcode"],
    read: ofUpstreams(({ responses }) =>
      Object.entries(responses)
        .filter(([, value]) => value > 0)
        .map(([rcode, value]) => ({ value, labels: { rcode } })),
    ),
  },
  {
    name: "fairlead_dns_forward_up",
    help: "1 while an upstream answers, 0 while it is asked last and probed.",
    kind: "gauge",
    labels: ["to"],
    read: ofUpstreams(({ problem }) => [{ value: Number(problem === undefined) }]),
  },
  {
    name: "fairlead_dns_forward_healthcheck_failures_total",
    help: "Probes of a failed upstream that it did not answer.",
    kind: "counter",
    labels: ["to"],
    read: ofUpstreams(({ probeFailures }) => [{ value: probeFailures }]),
  },
  {
    name: "fairlead_dns_forward_conn_cache_hits_total",
    help: "Queries over TCP or TLS that found a connection open.",
    kind: "counter",
    labels: ["to"],
    read: ofUpstreams(({ connections }) => [{ value: connections.reused }]),
  },
  {
    name: "fairlead_dns_forward_conn_cache_misses_total",
    help: "Connections opened for a query over TCP or TLS.",
    kind: "counter",
    labels: ["to"],
    read: ofUpstreams(({ connections }) => [{ value: connections.opened }]),
  },
  {
    name: "fairlead_dns_ahead",
    help: "1 while queries to the address come here whatever rules others have, 0 while these decide.",
    kind: "gauge",
    labels: ["address"],
    read: ({ report: { dns } }) =>
      dns.ahead === undefined
        ? []
        : dns.addresses.map((address) => ({
            value: Number(dns.ahead?.addresses.includes(address)),
            labels: { address },
          })),
  },
  {
    name: "fairlead_dns_ahead_changed_timestamp_seconds",
    help: "When fairlead_dns_ahead last changed, since 1970.",
    kind: "gauge",
    read: ({ report: { dns } }) =>
      dns.ahead === undefined ? [] : [{ value: Date.parse(dns.ahead.since) / 1000 }],
  },
  one(
    "counter",
    "forward_max_concurrent_rejects_total",
    "rejected",
    "Questions for upstreams that had no place.",
  ),
  one("counter", "autopath_success_total", "searchWalks", "Search lists walked for a pod."),
  one("counter", "refused_total", "refused", "Queries from outside the networks that may ask."),
  one("counter", "dropped_total", "dropped", "Messages left without an answer."),
  one("counter", "limited_total", "limited", "Datagrams above their client's rate."),
  one("counter", "errors_total", "errors", "Answers that could not be made or sent."),
  one("gauge", "news_age_seconds", "newsAge", "Since the cluster's news were last taken in."),
  one("counter", "restarts_total", "restarts", "Times that the resolver's thread started again."),
  {
    name: "fairlead_dns_cache_requests_total",
    help: "Questions that the cache was asked for: hits and misses.",
    kind: "counter",
    read: ({ report: { dns } }) => {
      const { cacheHits, cacheMisses } = dns.counters;
      if (cacheHits === undefined || cacheMisses === undefined) return [];
      return [{ value: cacheHits + cacheMisses }];
    },
  },
  one("counter", "cache_hits_total", "cacheHits", "Questions answered from the cache."),
  one("counter", "cache_misses_total", "cacheMisses", "Questions that an upstream had to answer."),
  one("counter", "cache_served_stale_total", "cacheStale", "Hits past their TTL."),
  one("counter", "cache_prefetch_total", "cachePrefetches", "Answers renewed before their end."),
  one("counter", "cache_evictions_total", "cacheEvictions", "Answers that left for others."),
  one("gauge", "cache_entries", "cacheEntries", "Answers in the cache."),
  one("gauge", "cache_bytes", "cacheBytes", "Size of the cache, as its bound counts it."),
];
