import type { Clock, Random } from "../core/clock.ts";
import type { Log } from "../core/log.ts";
import type { PodDirectory } from "./cluster/pod-directory.ts";
import type { Zone } from "./cluster/zone.ts";
import { anyHandler } from "./handlers/any.ts";
import { cacheHandler } from "./handlers/cache-handler.ts";
import { defaultCacheSettings } from "./handlers/cache.ts";
import { clientShareHandler } from "./handlers/client-share.ts";
import { hostsHandler } from "./handlers/local-names.ts";
import { networkNamesHandler, networkReverseHandler } from "./handlers/network-names.ts";
import { chain, type Handler, type Resolve, zoneHandler } from "./handlers/resolver.ts";
import { rewriteHandler } from "./handlers/rewrite.ts";
import { routeHandler } from "./handlers/route.ts";
import { searchWalkHandler } from "./handlers/search-walk.ts";
import { defaultClientLimits, type Upstream } from "./handlers/settings.ts";
import { noSiteNames } from "./handlers/site-names.ts";
import { specialNames } from "./handlers/special-names.ts";
import { type Source, traced } from "./handlers/trace.ts";
import { ttlHandler, ttlLookup } from "./handlers/zone-ttl.ts";
import type { Name } from "./message/name.ts";
import type { SharedCounters } from "./observe/counters.ts";
import { type DnsOptions } from "./options.ts";
import { forwardHandler, withoutOwn } from "./upstream/forward.ts";
import type { SharedUpstreamStats } from "./upstream/upstream-stats.ts";
import { formatUpstream } from "./upstream/upstream-text.ts";

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
  const share = clientShareHandler((options.limits ?? defaultClientLimits).pending, counters);
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
