import type { Clock, Random } from "../core/clock.ts";
import type { Log } from "../core/log.ts";
import { defaultCacheSettings } from "./cache.ts";
import { anyHandler } from "./any.ts";
import { cacheHandler } from "./cache-handler.ts";
import { clientShareHandler } from "./client-share.ts";
import type { SharedCounters } from "./counters.ts";
import { forwardHandler, withoutOwn } from "./forward.ts";
import { hostsHandler } from "./local-names.ts";
import { defaultClientLimits, type DnsOptions, type Upstream } from "./options.ts";
import type { Name } from "./name.ts";
import { networkNamesHandler, networkReverseHandler } from "./network-names.ts";
import type { PodDirectory } from "./pod-directory.ts";
import { chain, type Handler, type Resolve, zoneHandler } from "./resolver.ts";
import { rewriteHandler } from "./rewrite.ts";
import { routeHandler } from "./route.ts";
import { searchWalkHandler } from "./search-walk.ts";
import { noSiteNames } from "./site-names.ts";
import { specialNames } from "./special-names.ts";
import type { SharedUpstreamStats } from "./upstream-stats.ts";
import { formatUpstream } from "./upstream-text.ts";
import { type Source, traced } from "./trace.ts";
import type { Zone } from "./zone.ts";
import { ttlHandler, ttlLookup } from "./zone-ttl.ts";

export interface Parts {
  readonly options: Pick<
    DnsOptions,
    "addresses" | "port" | "ttl" | "site" | "cache" | "forward" | "autopath" | "limits"
  >;
  readonly pods: PodDirectory;
  readonly zone: Zone;
  readonly clock: Clock;
  readonly random: Random;
  readonly counters: SharedCounters;
  readonly upstreamStats: SharedUpstreamStats;
  readonly log: Log;
  readonly signal: AbortSignal;
}

/** The handlers in their order, over these upstreams, with an empty cache: others may answer otherwise. */
export function assemble(parts: Parts, configured: readonly Upstream[]): Resolve {
  const { options, pods, zone, clock, random, counters } = parts;
  const { ttl } = options;
  const { stubs, hosts, rewrites, ttls } = options.site ?? noSiteNames;
  const ttlOfSite = ttlLookup(ttls);
  const names = {
    pods,
    ttlOf: (name: Name) => ttlOfSite(name) ?? ttl,
    soa: (name: Name) => zone.soa(name),
  };
  const cache = cacheHandler({ settings: options.cache ?? defaultCacheSettings, clock, counters });
  const upstreams = usable(parts, configured);
  const share = clientShareHandler((options.limits ?? defaultClientLimits).pending);
  const shorten = ttlHandler(ttls);
  const routes = stubs.map((stub) => ({
    domain: stub.domain,
    resolve: chain([cache, share, shorten, forwardTo(parts, usable(parts, stub.upstreams))]),
  }));
  const by = (source: Source, handler: Handler): Handler => traced(source, handler, clock);
  return chain([
    ...(options.autopath === false
      ? []
      : [by("search list", searchWalkHandler({ pods, ttl, counters }))]),
    anyHandler,
    by("rewrite", rewriteHandler(rewrites)),
    by("network", networkNamesHandler(names)),
    by("zone", zoneHandler(zone, random)),
    by("network", networkReverseHandler(names)),
    by("hosts", hostsHandler(hosts, ttl, ttlOfSite)),
    routeHandler(routes),
    by("special", specialNames(upstreams.length > 0)),
    cache,
    share,
    shorten,
    forwardTo(parts, upstreams),
  ]);
}

const forwardTo = (
  { options: { forward }, clock, random, counters, upstreamStats, log, signal }: Parts,
  upstreams: readonly Upstream[],
): Handler =>
  forwardHandler({
    upstreams,
    clock,
    random,
    counters,
    stats: upstreamStats,
    log,
    signal,
    ...(forward && { settings: forward }),
  });

function usable({ options, log }: Parts, configured: readonly Upstream[]): readonly Upstream[] {
  const upstreams = withoutOwn(configured, options);
  for (const upstream of configured.filter((upstream) => !upstreams.includes(upstream))) {
    log.warn(
      { upstream: formatUpstream(upstream) },
      "Upstream is this resolver itself and is not used",
    );
  }
  return upstreams;
}
