// The cluster's news: none for long, and very much at once.
import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";
import type { EndpointSlice, Service } from "../../core/cluster/model.ts";
import { aSnapshot, ip } from "../support/builders.ts";
import { cases, clusterParts, fixtureSnapshot } from "./fixture.ts";
import { ask, askUntil, startTestDns } from "./test-server.ts";

const web = "web.prod.svc.cluster.local";

test("M04 without news all that was known is answered, and how old it is can be seen", async () => {
  await using server = await startTestDns();
  server.publish(fixtureSnapshot());
  await askUntil(web, "A", ({ rcode }) => rcode === "NOERROR");
  const before = server.counters().newsAge;
  expect(before).toBeLessThan(30);
  await delay(1200);
  const found = cases.data.filter(
    ({ id, expect: { rc, an } }) => /^[A-CE]/.test(id) && rc === "NOERROR" && (an ?? []).length > 0,
  );
  expect(found.length).toBeGreaterThan(25);
  for (const { name, type } of found) expect((await ask(name, type)).rcode).toBe("NOERROR");
  expect(server.counters().newsAge).toBeGreaterThan(before + 1);
  server.publish(fixtureSnapshot({ revision: 2 }));
  const deadlineMs = performance.now() + 30_000;
  while (server.counters().newsAge > 1 && performance.now() < deadlineMs) await delay(10);
  expect(server.counters().newsAge).toBeLessThan(1);
});

const serviceOf = (n: number): Service => ({
  namespace: `ns-${n % 100}`,
  name: `svc-${n}`,
  type: "ClusterIP",
  clusterIps: [ip(`10.97.${n >> 8}.${n & 255}`)],
  isHeadless: false,
  ports: [{ name: "http", protocol: "tcp", port: 80 }],
});

const sliceOf = (n: number): EndpointSlice => ({
  namespace: `ns-${n % 100}`,
  name: `svc-${n}-1`,
  serviceName: `svc-${n}`,
  ports: [{ name: "http", protocol: "tcp", port: 8080 }],
  endpoints: Array.from({ length: 10 }, (_, i) => ({
    addresses: [ip(`10.${128 + (n >> 10)}.${(n >> 2) & 255}.${((n & 3) << 6) + i}`)],
    isReady: true,
  })),
});

test("M09 10,000 services with 100,000 endpoints: all queries are answered while they are taken in", async () => {
  await using server = await startTestDns();
  server.publish(fixtureSnapshot());
  await askUntil(web, "A", ({ rcode }) => rcode === "NOERROR");
  const numbers = Array.from({ length: 10_000 }, (_, n) => n);
  const many = aSnapshot({
    ...clusterParts,
    services: [...clusterParts.services, ...numbers.map(serviceOf)],
    endpointSlices: [...clusterParts.endpointSlices, ...numbers.map(sliceOf)],
    revision: 2,
  });
  server.publish(many);
  const last = "svc-9999.ns-99.svc.cluster.local";
  const deadlineMs = performance.now() + 30_000;
  for (let isThere = false; !isThere;) {
    expect(performance.now()).toBeLessThan(deadlineMs);
    expect((await ask(web, "A")).answers).toEqual(["A 10.96.1.1"]);
    isThere = (await ask(last, "A")).rcode === "NOERROR";
  }
  expect((await ask("svc-0.ns-0.svc.cluster.local", "A")).answers).toEqual(["A 10.97.0.0"]);
  const names = await ask("9.0.128.10.in-addr.arpa", "PTR");
  expect(names.answers).toEqual(["PTR 10-128-0-9.svc-0.ns-0.svc.cluster.local"]);
}, 60_000);
