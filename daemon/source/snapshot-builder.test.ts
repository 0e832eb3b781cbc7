import { expect, test } from "vitest";
import { changedKeys } from "../../core/cluster/map-line.ts";
import type { Service, Snapshot } from "../../core/cluster/model.ts";
import { SnapshotBuilder } from "./snapshot-builder.ts";

const service = (name: string): { kind: "Service"; object: Service } => ({
  kind: "Service",
  object: {
    name,
    namespace: "prod",
    type: "ClusterIP",
    clusterIps: [],
    isHeadless: false,
    ports: [],
  },
});

test("snapshots are told apart by what was put or removed between them", () => {
  const builder = new SnapshotBuilder();
  const build = (): Snapshot => builder.build(1, true);
  const changed = (before: Snapshot, now: Snapshot): unknown => [
    ...(changedKeys(before.services, now.services) ?? ["any"]),
  ];
  for (const name of ["a", "b", "c"]) builder.put(service(name));
  const first = build();
  expect(changed(first, build())).toEqual([]);
  const b = service("b");
  builder.put(b);
  const second = build();
  builder.put(b);
  builder.remove(service("a"));
  builder.remove(service("nosuch"));
  const third = build();
  expect(changed(first, second)).toEqual(["prod/b"]);
  expect(changed(second, third)).toEqual(["prod/a"]);
  expect(changed(first, third)).toEqual(["prod/b", "prod/a"]);
  expect(first.services.size).toBe(3);
});
