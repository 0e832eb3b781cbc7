import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { DnsServer, PodNames } from "../../dns/server.ts";
import { cases, type DataCase, fixtureSnapshot } from "./fixture.ts";
import { exampleWorld, type ScriptedUpstream, startUpstream } from "./scripted-upstream.ts";
import { askUntil, startTestDns, testTarget } from "./test-server.ts";
import { framed, judged, type Judged, queryOctets, sendTcp, sendUdp } from "./wire-client.ts";

function expectAnswer(answer: Judged, expected: DataCase["expect"], rcode: string): void {
  expect(expected.any ?? [rcode]).toContain(answer.rcode);
  if (expected.aa !== null && expected.any === undefined) {
    expect(answer.isAuthoritative).toBe(expected.aa === 1);
  }
  expect(answer.isTruncated).toBe(expected.tc === 1);
  if (expected.any !== undefined) {
    expect(answer.answers.filter((record) => !record.startsWith("CNAME "))).toEqual([]);
  } else if (expected.an !== null) {
    if (expected.ord === 1) expect(answer.answers).toEqual(expected.an);
    else if (expected.an.length === 1 && expected.an[0] === "SOA") {
      expect(answer.answers).toEqual(["SOA"]);
    } else expect(answer.answers.toSorted()).toEqual([...expected.an].toSorted());
  }
  if (expected.any === undefined) {
    expect(answer.additionals.toSorted()).toEqual([...expected.ar].toSorted());
    if (expected.ns !== null) {
      expect(answer.authorities).toEqual(expected.ns === "" ? [] : [expected.ns]);
    }
  }
  if (expected.ttl !== undefined) expect(answer.ttls).toEqual([expected.ttl]);
}

// In another mode than insecure a pod name may not exist; nothing else changes.
const expectedIn = (pods: PodNames, { id, expect }: DataCase): DataCase["expect"] => {
  const isPodName = id.startsWith("F");
  const missing = pods === "disabled" ? isPodName : pods === "verified" && expect.vrc !== undefined;
  return missing ? { ...expect, rc: "NXDOMAIN", an: [], ns: "SOA" } : expect;
};

const settings: readonly (readonly [PodNames, "batched" | "plain"])[] = [
  ["insecure", "batched"],
  ["insecure", "plain"],
  ["verified", "batched"],
  ["disabled", "batched"],
];

describe.each(settings)("with %s pod names, %s", (pods, udp) => {
  let upstream: ScriptedUpstream;
  let server: DnsServer;

  beforeAll(async () => {
    upstream = await startUpstream(exampleWorld);
    server = await startTestDns({ pods, udp, upstreams: [upstream.upstream] });
    server.publish(fixtureSnapshot());
    await askUntil("web.prod.svc.cluster.local", "A", ({ rcode }) => rcode === "NOERROR");
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
    await upstream[Symbol.asyncDispose]();
  });

  test.each(cases.data)("$id $name $type", async (row) => {
    const expected = expectedIn(pods, row);
    const query = queryOctets(row.name, row.type, { class: row.class });
    // As it is worked out, and as it is given again.
    for (let turn = 0; turn < 2; turn++) {
      const octets = await sendUdp(testTarget, query);
      if (octets === undefined) throw new Error("no answer");
      expect(octets.length).toBeLessThanOrEqual(512);
      // The question comes back byte for byte, as does the id.
      expect(octets.subarray(12, query.length)).toEqual(query.subarray(12));
      expect(octets.subarray(0, 2)).toEqual(query.subarray(0, 2));
      expectAnswer(judged(octets), expected, expected.rc);
    }
    // The other transport says the same, and all of it.
    const { answers } = await sendTcp(testTarget, [framed(query)]);
    expect(answers).toHaveLength(1);
    expectAnswer(judged(answers[0]!), { ...expected, tc: 0 }, expected.rc);
  });

  test("G21 big.prod has all its 100 addresses over TCP", async () => {
    const query = queryOctets("big.prod.svc.cluster.local", "A");
    const { answers } = await sendTcp(testTarget, [framed(query)]);
    expect(new Set(judged(answers[0]!).answers).size).toBe(100);
  });

  test("D04 asks no upstream for a target inside the cluster", async () => {
    const before = upstream.asked.length;
    await askUntil("ext-int.prod.svc.cluster.local", "A", ({ rcode }) => rcode === "NOERROR");
    expect(upstream.asked.length).toBe(before);
  });
});
