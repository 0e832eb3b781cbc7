import { expect, test } from "vitest";
import { dnsAheadMs } from "../../core/desired/dns-ahead.ts";
import { aSnapshot, ip } from "../../test/support/builders.ts";
import { aheadStatus, failedOpen } from "./ahead-status.ts";

const address = ip("10.96.0.10");
const service = (name: string, clusterIp: string) => ({
  namespace: "kube-system",
  name,
  type: "ClusterIP" as const,
  clusterIps: [ip(clusterIp)],
  isHeadless: false,
  ports: [],
});
const slice = (serviceName: string, name: string, ready: readonly boolean[]) => ({
  namespace: "kube-system",
  name,
  serviceName,
  ports: [],
  endpoints: ready.map((isReady, i) => ({ addresses: [ip(`10.244.9.${i + 2}`)], isReady })),
});
const snapshot = aSnapshot({
  services: [service("kube-dns", address), service("metrics", "10.96.0.11")],
  endpointSlices: [
    slice("kube-dns", "kube-dns-1", [true, false]),
    slice("kube-dns", "kube-dns-2", [true]),
    slice("metrics", "metrics-1", [true]),
  ],
});

test("aheadStatus() names the Service that has the address, and how many stand behind it", () => {
  const sinceMs = Date.UTC(2026, 0, 31);
  const state = { addresses: [address], sinceMs, forMs: 0, problem: "" };
  expect(aheadStatus(state, snapshot, [address])).toEqual({
    addresses: [address],
    since: "2026-01-31T00:00:00.000Z",
    others: [{ service: "kube-system/kube-dns", readyEndpoints: 2 }],
  });
  expect(aheadStatus({ ...state, problem: "why" }, snapshot, [ip("10.96.0.12")])).toMatchObject({
    problem: "why",
    others: [],
  });
});

test("failedOpen() is a problem when it lasts, and none while queries come", () => {
  const open = { addresses: [], sinceMs: 1000, forMs: dnsAheadMs, problem: "why" };
  expect(failedOpen({ ...open, forMs: dnsAheadMs - 1 })).toEqual([]);
  expect(failedOpen(open)).toEqual([
    "Queries are left to whoever else has rules for the DNS service's address: why",
  ]);
  expect(failedOpen({ ...open, addresses: [address] })).toEqual([]);
  expect(failedOpen({ ...open, problem: "" })).toEqual([]);
});
