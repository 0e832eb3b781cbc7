// Names outside the cluster, through the whole resolver.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { silentLog } from "../../core/log.ts";
import type { DnsServer } from "../../dns/server.ts";
import { ip } from "../support/builders.ts";
import { timeLived } from "../support/lived.ts";
import { fixtureSnapshot } from "./fixture.ts";
import { exampleWorld, type ScriptedUpstream, startUpstream } from "./scripted-upstream.ts";
import { ask, askUntil, startTestDns, testPort, testTarget } from "./test-server.ts";
import { judged, queryOctets, sendUdp } from "./wire-client.ts";

describe("names outside the cluster", () => {
  let upstream: ScriptedUpstream;
  let server: DnsServer;
  const warnings: string[] = [];
  beforeAll(async () => {
    upstream = await startUpstream(exampleWorld);
    // K31: the first upstream is the resolver itself.
    const self = { address: ip(testTarget.address), port: testPort };
    const log = {
      ...silentLog,
      warn: (_fields: object, message: string) => void warnings.push(message),
    };
    server = await startTestDns({ upstreams: [self, upstream.upstream], log });
    server.publish(fixtureSnapshot());
    await askUntil("web.prod.svc.cluster.local", "A", ({ rcode }) => rcode === "NOERROR");
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
    await upstream[Symbol.asyncDispose]();
  });

  test("K31 an upstream that is the resolver itself is dropped, and said so", async () => {
    expect(warnings).toEqual(["Upstream is this resolver itself and is not used"]);
    const [answer, elapsedMs] = await timeLived(() => ask("v4only.example.com", "A"));
    expect(answer.answers).toEqual(["A 192.0.2.54"]);
    expect(elapsedMs).toBeLessThan(500);
    expect(server.counters().forwarded).toBe(1);
  });

  test("D05 an ExternalName ends in the outside world: its rcode and data", async () => {
    expect(await ask("ext-nx.prod.svc.cluster.local", "A")).toMatchObject({
      rcode: "NXDOMAIN",
      isAuthoritative: true,
      answers: ["CNAME nx.example.com"],
      authorities: ["SOA"],
    });
    expect(await ask("ext-dot.prod.svc.cluster.local", "AAAA")).toMatchObject({
      answers: ["CNAME api.example.com", "AAAA 2001:db8::53"],
    });
    expect(await ask("ext.prod.svc.cluster.local", "A", { recursionDesired: false })).toMatchObject(
      { rcode: "NOERROR", answers: ["CNAME api.example.com"] },
    );
  });

  test("D06 a loop of ExternalNames is SERVFAIL", async () => {
    expect(await ask("ext-a.prod.svc.cluster.local", "A")).toMatchObject({
      rcode: "SERVFAIL",
      answers: [],
    });
  });

  test("K29 localhost and its kind are answered here", async () => {
    const before = upstream.asked.length;
    expect((await ask("localhost", "A")).answers).toEqual(["A 127.0.0.1"]);
    expect((await ask("a.localhost", "AAAA")).answers).toEqual(["AAAA ::1"]);
    expect((await ask("1.0.0.127.in-addr.arpa", "PTR")).answers).toEqual(["PTR localhost"]);
    expect((await ask("x.invalid", "A")).rcode).toBe("NXDOMAIN");
    expect((await ask("1.1.254.169.in-addr.arpa", "PTR")).rcode).toBe("NXDOMAIN");
    expect(upstream.asked.length).toBe(before);
  });

  test("a chain of CNAMEs outside comes in its order", async () => {
    const octets = await sendUdp(testTarget, queryOctets("c1.example.com", "A"));
    expect(octets && judged(octets).answers).toEqual([
      "CNAME c2.example.com",
      "CNAME api.example.com",
      "A 192.0.2.53",
    ]);
  });
});

test("while all upstreams are silent the cluster's names go on, past many that wait", async () => {
  await using silent = await startUpstream(() => []);
  await using server = await startTestDns({
    upstreams: [silent.upstream],
    snapshot: fixtureSnapshot(),
  });
  const waiting = Array.from({ length: 100 }, (_, n) => ask(`n${n}.example.com`, "A"));
  const first = Promise.race(waiting).then(() => "outside");
  for (let n = 0; n < 20; n++) {
    const answer = ask("web.prod.svc.cluster.local", "A");
    expect(await Promise.race([first, answer])).toMatchObject({ answers: ["A 10.96.1.1"] });
  }
  const rcodes = new Set((await Promise.all(waiting)).map(({ rcode }) => rcode));
  expect(rcodes).toEqual(new Set(["SERVFAIL"]));
  expect(server.upstreams()[0]).toMatchObject({ problem: expect.stringContaining("no answer") });
});
