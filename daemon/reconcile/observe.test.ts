import { expect, test } from "vitest";
import { Target } from "../../core/target.ts";
import { vxlanDevice } from "../../core/names.ts";
import { clusterOf, configuration } from "../../bench/overlay/cluster.ts";
import type { FakeKernel } from "../../kernel/fake.ts";
import type { NetworkNamespace } from "../../kernel/kernel.ts";
import { itself } from "../../kernel/known.ts";
import { aSnapshot, mac } from "../../test/support/builders.ts";
import { calm, scene } from "../../test/support/reconciler.ts";
import { observeNode } from "./observe.ts";

/** The fake keeps the objects that it was given; Linux makes them anew each time. */
const readAnew = (kernel: FakeKernel): NetworkNamespace => ({
  ...kernel,
  routes: (filter, known = itself) => kernel.routes(filter).map((one) => known({ ...one })),
  neighbors: (device, known = itself) => kernel.neighbors(device).map((one) => known({ ...one })),
  fdb: (device, known = itself) => kernel.fdb(device).map((one) => known({ ...one })),
});

test("observeNode() gives what is as wanted as the target's own object, and the rest as it is", async () => {
  const { source, programmed, kernel, rests } = scene(configuration, calm);
  source.set(aSnapshot({ nodes: clusterOf(4) }));
  const { plan } = await programmed();
  await rests();
  const target = new Target();
  target.aim(plan, true);
  const [neighbor] = target.neighbors.values();
  const altered = { ...neighbor!, mac: mac("02:00:00:00:00:99") };
  kernel.apply([{ kind: "replace-neighbor", neighbor: altered }]);
  const observed = observeNode(readAnew(kernel), target);
  expect(observed.link?.name).toBe(vxlanDevice);
  expect(new Set(observed.fdb)).toEqual(new Set(target.fdb.values()));
  for (const entry of observed.fdb) expect([...target.fdb.values()]).toContain(entry);
  for (const route of observed.routes) expect([...target.routes.values()]).toContain(route);
  expect(observed.neighbors).toContainEqual(altered);
  const others = observed.neighbors.filter(({ address }) => address !== altered.address);
  expect(others).toHaveLength(2);
  for (const one of others) expect([...target.neighbors.values()]).toContain(one);
});
