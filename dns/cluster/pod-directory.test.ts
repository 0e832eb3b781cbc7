import { expect, test } from "vitest";
import { aPod, prodSearch } from "../../test/dns/pods.ts";
import { cidr, ip } from "../../test/support/builders.ts";
import { formatName, parseName } from "../message/name.ts";
import type { PodEntry, PodsUpdate } from "./pod-book.ts";
import { PodDirectory } from "./pod-directory.ts";

function directoryOf(...set: readonly PodEntry[]): PodDirectory {
  const pods = new PodDirectory(parseName("Cluster.Local")!);
  pods.apply({ isComplete: true, set, removed: [], withheld: [], lifted: [] });
  return pods;
}

const find = (pods: PodDirectory, name: string, asker = ""): readonly string[] | undefined =>
  pods.addressesAt(parseName(`${name}.cluster.local`)!, asker);

test("names are those of the pod and its aliases, of both families, on its own network", () => {
  const pods = directoryOf(
    aPod("a.b", "10.244.1.1", { aliases: ["db"], addresses: [ip("10.244.1.1"), ip("fd00::1")] }),
    aPod("c", "10.244.1.2", { aliases: ["db"], network: "fairlead" }),
    aPod("d", "10.9.0.1", { aliases: ["db"], network: "Lab.Net" }),
  );
  expect(find(pods, "a.b.fairlead")).toEqual(["10.244.1.1", "fd00::1"]);
  expect(find(pods, "db.fairlead")).toEqual(["10.244.1.1", "fd00::1", "10.244.1.2"]);
  expect(find(pods, "db.lab.net")).toEqual(["10.9.0.1"]);
  expect(find(pods, "lab.net")).toEqual([]);
  for (const absent of ["nosuch.fairlead", "b.fairlead", "db.net", "db", "d.fairlead"]) {
    expect(find(pods, absent)).toBeUndefined();
  }
  expect(formatName(pods.nameOf(ip("fd00::1"))!)).toBe("a.b.fairlead.cluster.local");
});

test("of pods of one name the asker's namespace has its own, others have all", () => {
  const pods = directoryOf(
    aPod("web", "10.244.1.1"),
    aPod("x", "10.244.1.2", { pod: { namespace: "dev", name: "web" } }),
    aPod("y", "10.244.1.3", { pod: { namespace: "dev", name: "asker" } }),
  );
  expect(find(pods, "web.fairlead", "10.244.1.3")).toEqual(["10.244.1.2"]);
  expect(find(pods, "web.fairlead", "10.244.1.1")).toEqual(["10.244.1.1"]);
  expect(find(pods, "web.fairlead", "10.9.9.9")).toEqual(["10.244.1.1", "10.244.1.2"]);
});

test("tells when a network may have names that it did not have", () => {
  const pods = directoryOf(aPod("web", "10.244.1.1"));
  const none = { isComplete: false, set: [], removed: [], withheld: [], lifted: [] };
  const change = (...updates: readonly Partial<PodsUpdate>[]): boolean =>
    pods.applyAll(updates.map((update) => ({ ...none, ...update }))).hasNewNames;
  const another = aPod("another", "10.244.1.2");
  expect(change({ set: [another] }, {})).toBe(true);
  expect(change({ set: [{ ...another, id: "a third", addresses: [ip("10.244.1.3")] }] })).toBe(
    false,
  );
  expect(change({ removed: [another.id] }, { withheld: [ip("10.244.1.1")] })).toBe(false);
  const { pod: _, ...nameless } = aPod("x", "10.9.0.1", { network: "lab" });
  expect(change({ set: [nameless] })).toBe(true);
  // Another network's names may have been hidden behind it.
  expect(change({ removed: ["id of x"] })).toBe(true);
});

test("a network called like a part of the cluster's domain has no names", () => {
  const pods = directoryOf(aPod("web", "10.244.1.1", { network: "svc" }));
  expect(find(pods, "web.svc")).toBeUndefined();
  expect(pods.nameOf(ip("10.244.1.1"))).toBeUndefined();
});

test("a search list is known only where it begins in the cluster's domain", () => {
  const listed = (...domains: string[]): unknown =>
    directoryOf(aPod("web", "10.244.1.1", { search: { domains, ndots: 5 } }))
      .searchPathOf("10.244.1.1")
      ?.domains.map(formatName);
  expect(listed(...prodSearch.domains, "corp.example")).toEqual([
    "prod.svc.cluster.local",
    "svc.cluster.local",
    "cluster.local",
    "corp.example",
  ]);
  expect(listed("corp.example", "prod.svc.cluster.local")).toBeUndefined();
  expect(listed("prod.svc.cluster.local", "not a name")).toBeUndefined();
  expect(directoryOf(aPod("web", "10.244.1.1")).searchPathOf("10.244.1.2")).toBeUndefined();
});

test("an update says of whom it is, not of all pods", () => {
  const none = { isComplete: false, set: [], removed: [], withheld: [], lifted: [] };
  const [web, next] = [aPod("web", "10.244.1.1"), aPod("next", "10.244.1.1")];
  const pods = directoryOf(web, aPod("other", "10.244.1.2"));
  const askers = (update: Partial<PodsUpdate>): readonly string[] =>
    [...pods.apply({ ...none, ...update }).askers].sort();
  expect(askers({ set: [aPod("c", "10.244.1.3")] })).toEqual(["10.244.1.3"]);
  expect(askers({ set: [{ ...web, addresses: [ip("10.244.1.4")] }] })).toEqual([
    "10.244.1.1",
    "10.244.1.4",
  ]);
  expect(askers({ withheld: [ip("10.244.1.9")] })).toEqual([]);
  expect(askers({ removed: ["c"] })).toEqual([]);
  expect(askers({ removed: [web.id] })).toEqual(["10.244.1.4"]);
  expect(askers({ set: [web] })).toEqual(["10.244.1.1"]);
  expect(askers({ set: [next] })).toEqual(["10.244.1.1"]);
  // By now it is another's, who asks there still.
  expect(askers({ removed: [web.id] })).toEqual([]);
  expect(askers({ isComplete: true, set: [web] })).toEqual([
    "10.244.1.1",
    "10.244.1.2",
    "10.244.1.3",
  ]);
});

test("several updates change what each of them does", () => {
  const none = { isComplete: false, set: [], removed: [], withheld: [], lifted: [] };
  const pods = directoryOf(aPod("web", "10.244.1.1"));
  const change = pods.applyAll([
    { ...none, set: [aPod("a", "10.244.1.2")], lifted: [ip("10.244.1.2")] },
    { ...none, set: [aPod("b", "10.244.1.3")], withheld: [ip("10.244.1.2")] },
    { ...none, withheldNetworks: [cidr("10.9.0.0/16")] },
  ]);
  expect([...change.askers]).toEqual(["10.244.1.2", "10.244.1.3"]);
  expect(change.addresses).toEqual(["10.244.1.2"]);
  expect(change.networks).toEqual(["10.9.0.0/16"]);
  expect(find(pods, "b.fairlead")).toEqual(["10.244.1.3"]);
  expect(pods.isWithheld(ip("10.244.1.2"))).toBe(true);
});
