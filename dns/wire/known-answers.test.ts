import { expect, test } from "vitest";
import { cases, clusterParts } from "../../test/dns/fixture.ts";
import { queryOctets } from "../../test/dns/wire-client.ts";
import { aSnapshot, ip } from "../../test/support/builders.ts";
import { ZoneFeed } from "../cluster/zone-feed.ts";
import { Zone } from "../cluster/zone.ts";
import { chain, zoneHandler } from "../handlers/resolver.ts";
import { noSiteNames } from "../handlers/site-names.ts";
import { silentLog } from "../../core/log.ts";
import { parseName } from "../message/name.ts";
import { SharedCounters } from "../observe/counters.ts";
import { createResponder } from "../respond/responder.ts";
import { KnownAnswers } from "./known-answers.ts";
import { WirePublisher } from "./wire-publisher.ts";
import type { WireUpdate } from "./wire-update.ts";

const domain = parseName("cluster.local")!;
const random = { below: () => 0 };
const clock = { nowMs: () => 1e6, monotonicMs: () => 1e6 };
const client = { address: "10.244.1.7", transport: "udp" } as const;

function scene() {
  const counters = new SharedCounters();
  const known = new KnownAnswers({ domain, seed: 7, random, clock, counters });
  const tell = (update: WireUpdate): void => known.apply(update);
  const publisher = new WirePublisher({ domain, seed: 7, site: noSiteNames, publish: tell });
  const zone = new Zone({
    domain,
    ttl: 30,
    pods: "insecure",
    nameservers: [ip("10.96.0.10")],
    isWithheld: () => false,
  });
  const update = new ZoneFeed(false).next(aSnapshot(clusterParts));
  zone.apply(update);
  publisher.applyZone(update);
  const resolve = chain([zoneHandler(zone, random)]);
  const common = { resolve, isAllowed: () => true, log: silentLog };
  const reference = createResponder({ ...common, counters: new SharedCounters() });
  const onAnswer = publisher.answered.bind(publisher);
  const find = (packet: Uint8Array, address: string) => known.find(packet, address);
  const respond = createResponder({ ...common, counters, onAnswer, known: find });
  return { counters, known, publisher, reference, respond };
}

const hexOf = (octets: Uint8Array | undefined): string => Buffer.from(octets ?? []).toString("hex");

test("what was answered is answered again, octet for octet", async () => {
  const { known, reference, respond } = scene();
  let again = 0;
  for (const { name, type } of cases.data) {
    const query = queryOctets(name, type);
    const wanted = hexOf(await reference(query, client));
    expect(hexOf(await respond(query, client))).toBe(wanted);
    const found = known.find(query, client.address);
    if (found === undefined) continue;
    again++;
    expect(hexOf(found)).toBe(wanted);
    expect(hexOf(await respond(query, client))).toBe(wanted);
  }
  expect(again).toBeGreaterThan(cases.data.length / 2);
});

test("is counted as the responder's answers are", async () => {
  const { counters, respond } = scene();
  for (const name of ["web", "web", "web", "nosuch", "nosuch"]) {
    await respond(queryOctets(`${name}.prod.svc.cluster.local`, "A"), client);
  }
  const { queries, responses } = counters.read();
  expect([queries.udp, responses["NOERROR"], responses["NXDOMAIN"]]).toEqual([5, 3, 2]);
});

test("an answer stays as it is while others are made", async () => {
  const { known, respond } = scene();
  const [web, api] = ["web", "api6"].map((name) =>
    queryOctets(`${name}.prod.svc.cluster.local`, "A"),
  );
  await respond(web!, client);
  await respond(api!, client);
  const first = known.find(web!, client.address)!;
  const copy = Buffer.from(first);
  known.find(api!, "2001:db8::1");
  expect(first).toEqual(copy);
});

test("who has a search list is left to the responder where a name is missing", async () => {
  const { known, publisher, respond } = scene();
  const query = queryOctets("www.example.com.prod.svc.cluster.local", "A");
  await respond(query, client);
  const path = { domains: [parseName("prod.svc.cluster.local")!], ndots: 5 };
  for (const address of ["10.244.1.8", "fd00::8"]) {
    expect(known.find(query, address)).toBeDefined();
    publisher.changePods(new Set(), [[address, path]], false);
    expect(known.find(query, address)).toBeUndefined();
  }
  expect(known.find(query, client.address)).toBeDefined();
});

test("a query that is longer than any is left to the responder", () => {
  const { known } = scene();
  const query = queryOctets("nosuch.prod.svc.cluster.local", "A");
  expect(known.find(Buffer.concat([query, Buffer.alloc(5000)]), client.address)).toBeUndefined();
});
