// What a site's configuration adds, through the whole resolver.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { siteNamesOf } from "../../dns/handlers/site-names.ts";
import type { DnsServer } from "../../dns/server.ts";
import { ip } from "../support/builders.ts";
import { fixtureSnapshot } from "./fixture.ts";
import {
  a,
  exampleWorld,
  reply,
  type Script,
  type ScriptedUpstream,
  startUpstream,
} from "./scripted-upstream.ts";
import { ask, askUntil, startTestDns } from "./test-server.ts";

const always =
  (address: string): Script =>
  ({ query, name }) => [reply(query, { answers: [a(name, address)] })];

describe("the site's names", () => {
  let world: ScriptedUpstream;
  let corp: ScriptedUpstream;
  let lab: ScriptedUpstream;
  let server: DnsServer;
  beforeAll(async () => {
    world = await startUpstream(exampleWorld);
    corp = await startUpstream(always("10.1.1.1"));
    lab = await startUpstream(always("10.2.2.2"));
    const site = siteNamesOf({
      stubs: {
        "corp.example": [corp.upstream],
        "lab.corp.example": [lab.upstream],
        "1.10.in-addr.arpa": [corp.upstream],
      },
      hosts: { "printer.corp.example": [ip("192.0.2.7")] },
      rewrite: { "old.example": "web.prod.svc.cluster.local", "*.old.example": "*.example.com" },
      ttls: {
        "corp.example": 7,
        "prod.svc.cluster.local": 11,
        "db.prod.svc.cluster.local": 3,
        "96.10.in-addr.arpa": 13,
      },
    });
    server = await startTestDns({ upstreams: [world.upstream], site });
    server.publish(fixtureSnapshot());
    await askUntil("web.prod.svc.cluster.local", "A", ({ rcode }) => rcode === "NOERROR");
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
    for (const one of [world, corp, lab]) await one[Symbol.asyncDispose]();
  });

  test("K28 a stub domain's upstream is asked, the most specific one's, on label borders", async () => {
    expect((await ask("a.Corp.example", "A")).answers).toEqual(["A 10.1.1.1"]);
    expect((await ask("a.lab.corp.example", "A")).answers).toEqual(["A 10.2.2.2"]);
    expect((await ask("xcorp.example", "A")).rcode).toBe("NXDOMAIN");
    expect(world.asked.map(({ name }) => name)).toEqual(["xcorp.example"]);
    // From the cache, which is one for all.
    await ask("a.corp.example", "A");
    expect(corp.asked).toHaveLength(1);
    expect(server.counters().cache).toMatchObject({ entries: 2, hits: 1 });
  });

  test("hosts go before stubs, and have reverse names", async () => {
    expect((await ask("printer.corp.example", "A")).answers).toEqual(["A 192.0.2.7"]);
    expect((await ask("printer.corp.example", "AAAA")).authorities).toEqual(["SOA"]);
    const reverse = await ask("7.2.0.192.in-addr.arpa", "PTR");
    expect(reverse.answers).toEqual(["PTR printer.corp.example"]);
  });

  test.each([
    ["an upstream's, at most", "ttl.corp.example", "A", 7],
    ["a host's", "printer.corp.example", "A", 7],
    ["a cluster name's", "web.prod.svc.cluster.local", "A", 11],
    ["a more specific one's", "db.prod.svc.cluster.local", "A", 3],
    ["a reverse name's", "1.1.96.10.in-addr.arpa", "PTR", 13],
    ["all others'", "web.dev.svc.cluster.local", "A", 30],
  ])("a domain has a TTL of its own: %s", async (_, name, type, ttl) => {
    const { ttls } = await ask(name, type);
    expect(new Set(ttls)).toEqual(new Set([ttl]));
  });

  test("a rewritten name has what the other has, in the cluster or outside", async () => {
    expect((await ask("old.example", "A")).answers).toEqual(["A 10.96.1.1"]);
    expect((await ask("api.old.example", "AAAA")).answers).toEqual(["AAAA 2001:db8::53"]);
    expect((await ask("no.old.example", "A")).rcode).toBe("NXDOMAIN");
  });
});
