// The packet thread's answers beside the responder's: octet for octet the same, for whatever is asked
// and however the cluster changes.
import { describe, expect, test } from "vitest";
import type { Random } from "../../core/clock.ts";
import { cases, clusterParts } from "../../test/dns/fixture.ts";
import { queryMessage } from "../../test/dns/wire-client.ts";
import {
  askWire,
  choosy,
  choosyList,
  choosyPod,
  client,
  latePod,
  networkPod,
  searching,
  searchingPod,
  searchList,
  twins,
} from "../../test/dns/wire-twins.ts";
import { ip } from "../../test/support/builders.ts";
import { seededRandom } from "../../test/support/random.ts";
import { encodeMessage } from "../message/encode.ts";
import { Rcode, RecordType } from "../message/message.ts";

const names = [
  ...new Set(cases.data.map(({ name }) => name)),
  ..."www.example.com no.example.com a.b.example.org cluster.local.example.com".split(" "),
  ..."a.ns.dns.cluster.local x.hostmaster.cluster.local local xcluster.local".split(" "),
  ..."svc.svc.cluster.local web.prod.svc.svc.cluster.local pod.svc.svc.cluster.local".split(" "),
  ..."db.lab.cluster.local no.lab.cluster.local lab.cluster.local".split(" "),
  ..."www.example.com.prod.svc.cluster.local no.example.com.prod.svc.cluster.local".split(" "),
  ..."no.prod.svc.cluster.local web.no-such.svc.cluster.local no.such.cluster.local".split(" "),
];
const firstNames = "www.example.com no.example.com web.dev db.prod late x.web.prod ext.prod web"
  .split(" ")
  .map((front) => `${front}.prod.svc.cluster.local`);
const types = ["A", "A", "A", "AAAA", "SRV", "TXT", "PTR", "HTTPS", "ANY", "SOA", "NS", "CNAME"];

const pickOf = <T>(random: Random, list: readonly T[]): T => list[random.below(list.length)]!;
const aliasStart = Buffer.of(0, 1, 0xc0, 12, 0, RecordType.CNAME, 0, 1);

function aQuery(random: Random): Uint8Array {
  const pick = <T>(list: readonly T[]): T => pickOf(random, list);
  // What pods' search lists begin with, over and over.
  const isFirst = random.below(3) === 0;
  const known = pick(isFirst ? firstNames : names);
  const label = isFirst ? "" : pick(["", "", "", "", "x.", "_tcp.", "a.b."]);
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
      const given = { NOERROR: 0, NODATA: 0, NXDOMAIN: 0, aged: 0, walked: 0 };
      let { services } = clusterParts;
      let revision = 1;
      pair.show({ ...clusterParts, revision });
      pair.showPods({ set: [searchingPod, choosyPod, networkPod] });
      for (let i = 0; i < 12_000; i++) {
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
        if (random.below(200) === 0) {
          const id = pickOf(random, [latePod.id, searchingPod.id, choosyPod.id]);
          const search = random.below(2) === 0 ? searchList : choosyList;
          const come = [latePod, { ...searchingPod, search }, { ...choosyPod, search }];
          pair.showPods(random.below(2) === 0 ? { removed: [id] } : { set: come });
        }
        const query = aQuery(random);
        const asker = pickOf(random, [client, searching, choosy]);
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
        // A CNAME right behind the question, to which its name points.
        if (fast.includes(aliasStart)) given.walked++;
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
