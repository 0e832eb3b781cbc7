import { expect, test } from "vitest";
import type { Service } from "../../core/cluster/model.ts";
import { ip } from "../../test/support/builders.ts";
import { parseName } from "../message/name.ts";
import type { IsWithheld } from "./service-index.ts";
import { ServiceIndex } from "./service-index.ts";

const service = (name: string): Service => ({
  namespace: "prod",
  name,
  type: "ClusterIP",
  clusterIps: [ip("10.96.1.1")],
  isHeadless: false,
  ports: [{ name: "http", protocol: "tcp", port: 80 }],
});

function indexOf(names: readonly string[], mostRecords: number, isWithheld: IsWithheld) {
  const index = new ServiceIndex(parseName("cluster.local")!, isWithheld, mostRecords);
  const slices = [{ ports: [], endpoints: [{ addresses: [ip("10.244.1.7")], hostname: "db-0" }] }];
  for (const name of names) index.set({ service: service(name), slices });
  return { recordsOf: (name: string) => index.get("prod", name)!.records, index };
}

test("ServiceIndex keeps the records of so many services, those made last", () => {
  const { recordsOf } = indexOf(["a", "b", "c"], 2, () => false);
  const [a, b] = [recordsOf("a"), recordsOf("b")];
  expect([recordsOf("a"), recordsOf("b")]).toEqual([a, b]);
  expect(recordsOf("a")).toBe(a);
  recordsOf("c");
  expect(recordsOf("b")).toBe(b);
  expect(recordsOf("a")).not.toBe(a);
  expect(recordsOf("a")).toEqual(a);
});

test("ServiceIndex keeps no records of what is another service now", () => {
  const { recordsOf, index } = indexOf(["a"], 2, () => false);
  expect(recordsOf("a").hosts.has("db-0")).toBe(true);
  index.set({ service: service("a"), slices: [] });
  expect(recordsOf("a").hosts.size).toBe(0);
});

test("ServiceIndex keeps no records with endpoints that are withheld since", () => {
  const withheld = new Set<string>();
  const { recordsOf, index } = indexOf(["a", "b"], 2, (address) => withheld.has(address));
  expect(recordsOf("a").hosts.has("db-0")).toBe(true);
  withheld.add("10.244.1.7");
  const keys = index.refresh({ addresses: [ip("10.244.1.7")], networks: [] });
  expect([...keys]).toEqual(["prod/a", "prod/b"]);
  expect(recordsOf("a").hosts.has("db-0")).toBe(false);
});
