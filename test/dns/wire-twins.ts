// A responder, and a wire responder that it tells what it may give again: over one cluster, one cache, one clock.
import { type Ip, ipToBytes } from "../../core/address.ts";
import type { Clock, Random } from "../../core/clock.ts";
import { silentLog } from "../../core/log.ts";
import type { PodEntry, PodsUpdate } from "../../dns/cluster/pod-book.ts";
import { PodDirectory } from "../../dns/cluster/pod-directory.ts";
import { ZoneFeed } from "../../dns/cluster/zone-feed.ts";
import { Zone } from "../../dns/cluster/zone.ts";
import { cacheHandler } from "../../dns/handlers/cache-handler.ts";
import { defaultCacheSettings } from "../../dns/handlers/cache.ts";
import { networkNamesHandler } from "../../dns/handlers/network-names.ts";
import { type Answer, chain, type Handler, zoneHandler } from "../../dns/handlers/resolver.ts";
import { rewriteHandler } from "../../dns/handlers/rewrite.ts";
import { searchWalkHandler } from "../../dns/handlers/search-walk.ts";
import { specialNames } from "../../dns/handlers/special-names.ts";
import { ttlLookup } from "../../dns/handlers/zone-ttl.ts";
import { Rcode, RecordType } from "../../dns/message/message.ts";
import { brandName, type Name, parseName } from "../../dns/message/name.ts";
import { SharedCounters } from "../../dns/observe/counters.ts";
import { createResponder, type Responder } from "../../dns/respond/responder.ts";
import { WirePublisher } from "../../dns/wire/wire-publisher.ts";
import { WireResponder } from "../../dns/wire/wire-responder.ts";
import { aSnapshot, ip } from "../support/builders.ts";

const domain = parseName("cluster.local")!;
export const client = { address: "10.244.1.7", transport: "udp" } as const;
/** A pod of prod, whose search list is walked for it. */
export const searching = { address: "10.244.1.8", transport: "udp" } as const;
export const searchList = {
  domains: ["prod.svc.cluster.local", "svc.cluster.local", "cluster.local", "lab.cluster.local"],
  ndots: 5,
};
/** Another one, whose list is its own. */
export const choosy = { address: "10.244.1.9", transport: "udp" } as const;
export const choosyList = {
  domains: ["prod.svc.cluster.local", "no.example", "dev.svc.cluster.local", "prod.example"],
  ndots: 2,
};
const noRandom: Random = { below: () => 0 };

export interface Twins {
  /** Answers from everything, and publishes. */
  readonly respond: Responder;
  /** The same without a word to the wire responder. */
  readonly reference: Responder;
  readonly wire: WireResponder;
  readonly show: (parts: Parameters<typeof aSnapshot>[0]) => void;
  readonly showPods: (update: Partial<PodsUpdate>) => void;
  readonly clock: { nowMs: number };
}

interface Site {
  readonly rewrites?: readonly { from: string; to: string }[];
  readonly ttls?: readonly { domain: string; seconds: number }[];
}

export function twins({
  random = noRandom,
  rewrites = [],
  ttls = [],
}: Site & { random?: Random } = {}): Twins {
  const time = { nowMs: 1_000_000 };
  const clock: Clock = { nowMs: () => time.nowMs, monotonicMs: () => time.nowMs };
  const counters = new SharedCounters();
  const nameservers = [ip("10.96.0.10")];
  const zoneTtls = ttls.map(({ domain, seconds }) => ({ domain: parseName(domain)!, seconds }));
  const ttlOf = ttlLookup(zoneTtls);
  const pods = new PodDirectory(domain);
  const isWithheld = (address: Ip): boolean => pods.isWithheld(address);
  const zone = new Zone({ domain, ttl: 30, ttlOf, pods: "insecure", nameservers, isWithheld });
  const rules = rewrites.map(({ from, to }) => ({
    kind: "name" as const,
    from: parseName(from)!,
    to: parseName(to)!,
  }));
  const names = {
    pods,
    ttlOf: (name: Name) => ttlOf(name) ?? 30,
    soa: (name: Name) => zone.soa(name),
  };
  const resolve = chain([
    searchWalkHandler({ pods, ttl: 30, counters }),
    rewriteHandler(rules),
    networkNamesHandler(names),
    zoneHandler(zone, random),
    specialNames(true),
    cacheHandler({ settings: defaultCacheSettings, clock, counters }),
    outside,
  ]);
  const wire = new WireResponder({ domain, seed: 7, random });
  const publish = wire.apply.bind(wire);
  const publisher = new WirePublisher({
    domain,
    seed: 7,
    site: { rewrites: rules, ttls: zoneTtls },
    publish,
  });
  const common = { resolve, isAllowed: () => true, counters, log: silentLog };
  const onAnswer = publisher.answered.bind(publisher);
  const feed = new ZoneFeed(false);
  return {
    respond: createResponder({ ...common, onAnswer }),
    reference: createResponder(common),
    wire,
    show: (parts) => {
      const update = feed.next(aSnapshot(parts));
      zone.apply(update);
      publisher.applyZone(update);
    },
    showPods: (update) => {
      const none = { isComplete: false, set: [], removed: [], withheld: [], lifted: [] };
      const change = pods.apply({ ...none, ...update });
      publisher.refreshServices(zone.refresh(change));
      const paths = [...change.askers].map((ip) => [ip, pods.searchPathOf(ip)] as const);
      publisher.changePods(pods.trees(), paths, change.hasNewNames);
    },
    clock: time,
  };
}

// A world: a few records for each name, "no such name" for those that begin with "no", or are below no.example.
const outside: Handler = async ({ question }): Promise<Answer> => {
  const { name, type } = question;
  const isThere = !/^.no|.no.example.$/.test(name);
  const records = isThere && type === RecordType.A ? [1, 2] : [];
  const zone = brandName(name.slice(1 + name.charCodeAt(0)));
  const soa = {
    kind: "soa",
    primary: zone,
    mailbox: zone,
    serial: 9,
    refresh: 1,
    retry: 1,
  } as const;
  return {
    rcode: isThere ? Rcode.NOERROR : Rcode.NXDOMAIN,
    authoritative: false,
    answers: records.map((n) => ({
      name,
      type,
      class: 1,
      ttl: 100,
      data: { kind: "address", address: ip(`192.0.2.${n}`) },
    })),
    authorities:
      records.length > 0
        ? []
        : [
            {
              name: zone,
              type: RecordType.SOA,
              class: 1,
              ttl: 50,
              data: { ...soa, expire: 1, minimum: 50 },
            },
          ],
    additionals: [],
  };
};

/** The octets that the wire responder gives, or undefined when it leaves the query. */
export function askWire(
  { wire, clock }: Twins,
  query: Uint8Array,
  from: string = client.address,
): Buffer | undefined {
  // As in a batch: among other octets, of which none may be touched.
  const at = 64;
  const memory = Buffer.alloc(2048, 0xee);
  memory.set(query, at);
  // struct sockaddr_in, elsewhere.
  memory.set(ipToBytes(ip(from)), 8);
  const place = { at, length: query.length, sourceAt: 4, sourceLength: 16 };
  const length = wire.respond(memory, place, clock.nowMs);
  const end = at + Math.max(length, query.length);
  const isAround = (octets: Buffer): boolean => octets.equals(Buffer.alloc(octets.length, 0xee));
  if (!isAround(memory.subarray(12, at)) || !isAround(memory.subarray(end))) {
    throw new Error("Octets around the answer were touched");
  }
  if (length > 0) return memory.subarray(at, at + length);
  if (!memory.subarray(at, end).equals(query)) throw new Error("A query was left, and touched");
  return undefined;
}

export const searchingPod: PodEntry = {
  id: "searching/eth0",
  network: "cluster",
  addresses: [ip(searching.address)],
  aliases: [],
  search: searchList,
};
export const choosyPod: PodEntry = {
  ...searchingPod,
  id: "choosy/eth0",
  addresses: [ip(choosy.address)],
  search: choosyList,
};
export const networkPod: PodEntry = {
  id: "db/eth0",
  network: "lab",
  addresses: [ip("10.89.0.2")],
  aliases: ["db"],
};

export const latePod: PodEntry = {
  id: "late/eth0",
  network: "lab",
  addresses: [ip("10.89.0.3")],
  aliases: ["late"],
};
