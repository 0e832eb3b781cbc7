// The packet thread's answers beside the responder's: octet for octet the same, for whatever is asked
// and however the cluster changes.
import { describe, expect, test } from "vitest";
import { type Ip, ipToBytes } from "../../core/address.ts";
import type { Clock, Random } from "../../core/clock.ts";
import { silentLog } from "../../core/log.ts";
import { cases, clusterParts } from "../../test/dns/fixture.ts";
import { queryMessage } from "../../test/dns/wire-client.ts";
import { aSnapshot, ip } from "../../test/support/builders.ts";
import { seededRandom } from "../../test/support/random.ts";
import type { PodEntry, PodsUpdate } from "../cluster/pod-book.ts";
import { PodDirectory } from "../cluster/pod-directory.ts";
import { ZoneFeed } from "../cluster/zone-feed.ts";
import { Zone } from "../cluster/zone.ts";
import { cacheHandler } from "../handlers/cache-handler.ts";
import { defaultCacheSettings } from "../handlers/cache.ts";
import { networkNamesHandler } from "../handlers/network-names.ts";
import { type Answer, chain, type Handler, zoneHandler } from "../handlers/resolver.ts";
import { rewriteHandler } from "../handlers/rewrite.ts";
import { searchWalkHandler } from "../handlers/search-walk.ts";
import { specialNames } from "../handlers/special-names.ts";
import { ttlLookup } from "../handlers/zone-ttl.ts";
import { encodeMessage } from "../message/encode.ts";
import { Rcode, RecordType } from "../message/message.ts";
import { brandName, type Name, parseName } from "../message/name.ts";
import { SharedCounters } from "../observe/counters.ts";
import { createResponder, type Responder } from "../respond/responder.ts";
import { WirePublisher } from "./wire-publisher.ts";
import { WireResponder } from "./wire-responder.ts";

const domain = parseName("cluster.local")!;
const client = { address: "10.244.1.7", transport: "udp" } as const;
/** A pod of prod, whose search list is walked for it. */
const searching = { address: "10.244.1.8", transport: "udp" } as const;
const searchList = {
  domains: ["prod.svc.cluster.local", "svc.cluster.local", "cluster.local"],
  ndots: 5,
};
const noRandom: Random = { below: () => 0 };

interface Twins {
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

function twins({
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
      publisher.changePods(pods.trees(), paths);
    },
    clock: time,
  };
}

// A world: a few records for each name, "no such name" for those that begin with "no".
const outside: Handler = async ({ question }): Promise<Answer> => {
  const { name, type } = question;
  const isThere = !/^.no/.test(name);
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
function askWire(
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

const searchingPod: PodEntry = {
  id: "searching/eth0",
  network: "cluster",
  addresses: [ip(searching.address)],
  aliases: [],
  search: searchList,
};
const networkPod: PodEntry = {
  id: "db/eth0",
  network: "lab",
  addresses: [ip("10.89.0.2")],
  aliases: ["db"],
};

const names = [
  ...new Set(cases.data.map(({ name }) => name)),
  ..."www.example.com no.example.com a.b.example.org cluster.local.example.com".split(" "),
  ..."a.ns.dns.cluster.local x.hostmaster.cluster.local local xcluster.local".split(" "),
  ..."svc.svc.cluster.local web.prod.svc.svc.cluster.local pod.svc.svc.cluster.local".split(" "),
  ..."db.lab.cluster.local no.lab.cluster.local lab.cluster.local".split(" "),
  ..."www.example.com.prod.svc.cluster.local no.example.com.prod.svc.cluster.local".split(" "),
  ..."no.prod.svc.cluster.local web.no-such.svc.cluster.local no.such.cluster.local".split(" "),
];
const types = ["A", "A", "A", "AAAA", "SRV", "TXT", "PTR", "HTTPS", "ANY", "SOA", "NS", "CNAME"];

function aQuery(random: Random): Uint8Array {
  const pick = <T>(list: readonly T[]): T => list[random.below(list.length)]!;
  const known = pick(names);
  const label = pick(["", "", "", "", "x.", "_tcp.", "a.b."]);
  const text = (label + known).replace(/[a-z]/g, (letter) =>
    random.below(8) === 0 ? letter.toUpperCase() : letter,
  );
  const edns = { udpSize: pick([512, 700, 1232, 4096]), dnssecOk: random.below(3) === 0 };
  const message = queryMessage(text.length > 250 ? known : text, pick(types), {
    id: random.below(0x1_0000),
    recursionDesired: random.below(8) > 0,
    ...(random.below(2) === 0 && { edns }),
  });
  const octets = encodeMessage({
    ...message,
    authenticData: random.below(3) === 0,
    checkingDisabled: random.below(8) === 0,
  });
  // Now and then a message that is none, or none of the ordinary ones.
  if (random.below(10) === 0) octets[random.below(octets.length)] = random.below(256);
  if (random.below(20) === 0) return octets.slice(0, random.below(octets.length));
  return octets;
}

describe("WireResponder", () => {
  test.each([1, 2, 3, 4])(
    "answers as the responder does, or not at all (seed %i)",
    async (seed) => {
      const random = seededRandom(seed);
      const pair = twins();
      const given = { NOERROR: 0, NODATA: 0, NXDOMAIN: 0, aged: 0 };
      let { services } = clusterParts;
      let revision = 1;
      pair.show({ ...clusterParts, revision });
      pair.showPods({ set: [searchingPod, networkPod] });
      for (let i = 0; i < 10_000; i++) {
        if (random.below(100) === 0) {
          // One goes, or comes back with another address: what was kept of it must not be given.
          const at = random.below(clusterParts.services.length);
          const service = clusterParts.services[at]!;
          const others = services.filter(
            (other) => other !== service && other.name !== service.name,
          );
          const changed = { ...service, clusterIps: [ip(`10.97.0.${random.below(250)}`)] };
          services = [
            ...others,
            ...(random.below(3) === 0 ? [] : [service.isHeadless ? service : changed]),
          ];
          const isInSync = random.below(20) > 0;
          pair.show({ ...clusterParts, services, revision: ++revision, isInSync });
        }
        pair.clock.nowMs += random.below(50);
        if (random.below(100) === 0) {
          const endpoint = ip("10.244.1.20");
          pair.showPods(random.below(2) === 0 ? { withheld: [endpoint] } : { lifted: [endpoint] });
        }
        const query = aQuery(random);
        const asker = random.below(2) === 0 ? client : searching;
        const fast = askWire(pair, query, asker.address);
        const wanted = await pair.reference(Uint8Array.from(query), asker);
        if (fast === undefined) {
          await pair.respond(Uint8Array.from(query), asker);
          continue;
        }
        if (wanted === undefined || !fast.equals(wanted)) {
          expect(fast.toString("latin1")).toBe(Buffer.from(wanted ?? []).toString("latin1"));
        }
        if ((fast[3]! & 15) === Rcode.NXDOMAIN) given.NXDOMAIN++;
        else if (fast[7] === 0) given.NODATA++;
        else given.NOERROR++;
        if ((fast[2]! & 4) === 0) given.aged++;
      }
      // It is no use if it leaves everything to the other.
      for (const count of Object.values(given)) expect(count).toBeGreaterThan(40);
    },
  );

  test("starts a set of addresses anywhere", async () => {
    const pair = twins({ random: seededRandom(5) });
    pair.show(clusterParts);
    const query = encodeMessage(queryMessage("db.prod.svc.cluster.local", "A"));
    await pair.respond(query, client);
    const seen = new Set<string>();
    for (let i = 0; i < 50; i++) {
      const answer = askWire(pair, query)!;
      const addresses = answer.subarray(query.length).toString("hex").match(/.{32}/g)!;
      seen.add(addresses.join());
      expect(new Set(addresses).size).toBe(addresses.length);
    }
    expect(seen.size).toBe(2);
  });

  test("denies nothing that a rewrite may give", async () => {
    const rewrites = [{ from: "old.prod.svc.cluster.local", to: "web.prod.svc.cluster.local" }];
    const pair = twins({ rewrites });
    pair.show(clusterParts);
    const missing = encodeMessage(queryMessage("no.prod.svc.cluster.local", "A"));
    const rewritten = encodeMessage(queryMessage("old.prod.svc.cluster.local", "A"));
    for (const query of [missing, rewritten]) {
      await pair.respond(query, client);
      expect(askWire(pair, query)).toBeUndefined();
    }
  });

  test("keeps to the TTLs that the site sets for names in the zone", async () => {
    const pair = twins({ ttls: [{ domain: "prod.svc.cluster.local", seconds: 3 }] });
    pair.show(clusterParts);
    for (const name of ["web.prod", "web.dev", "no.prod", "no.dev"]) {
      const query = encodeMessage(queryMessage(`${name}.svc.cluster.local`, "A"));
      for (let i = 0; i < 2; i++) await pair.respond(query, client);
      const wanted = await pair.reference(query, client);
      expect(askWire(pair, query) ?? wanted).toEqual(Buffer.from(wanted!));
    }
  });

  test("says how an outside answer ages, and leaves its last tenth to the cache", async () => {
    const pair = twins();
    pair.show(clusterParts);
    const query = encodeMessage(queryMessage("www.example.com", "A"));
    for (let i = 0; i < 2; i++) await pair.respond(query, client);
    const ttlAfter = (seconds: number): number | undefined => {
      pair.clock.nowMs = 1_000_000 + seconds * 1000;
      return askWire(pair, query)?.readUInt32BE(query.length + 6);
    };
    expect([0, 1, 89].map(ttlAfter)).toEqual([100, 99, 11]);
    expect(ttlAfter(90)).toBeUndefined();
  });
});
