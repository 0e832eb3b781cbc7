// What is written off the event loop: a cluster of which there is more than one slice.
import { expect, test, vi } from "vitest";
import { desiredOf } from "../../core/desired/plan.ts";
import { diffNode } from "../../core/diff.ts";
import { vxlanDevice } from "../../core/names.ts";
import { clusterOf, configuration, peerNode } from "../../bench/overlay/cluster.ts";
import type { FakeKernel } from "../../kernel/fake.ts";
import { aSnapshot } from "../../test/support/builders.ts";
import { calm, problemsOf, scene, sure, waiting } from "../../test/support/reconciler.ts";
import { observeNode } from "./observe.ts";

const yaml = configuration;
const cluster = clusterOf(1_300);

/** As they are written. */
function writesOf(kernel: FakeKernel): readonly string[] {
  const written: string[] = [];
  kernel.failNext((change) => {
    if (change.kind.startsWith("replace-")) written.push(JSON.stringify(change));
    return false;
  }, "EIO");
  return written;
}

test("a node that has nothing gets all, of which nothing is written twice, and no repair is counted", async () => {
  const { source, programmed, kernel, reconciler, rests } = scene(yaml, calm);
  const written = writesOf(kernel);
  let turns = -1;
  const write = kernel.applyOffLoop.bind(kernel);
  kernel.applyOffLoop = (changes) => {
    if (turns < 0) turns = reconciler.counters.passes;
    return write(changes);
  };
  source.set(aSnapshot({ nodes: cluster }));
  const { plan, problems } = await programmed();
  await rests();
  expect(problems).toEqual([]);
  // Before all was planned.
  expect(turns).toBe(0);
  expect(diffNode(desiredOf(plan), observeNode(kernel), sure)).toEqual([]);
  expect(new Set(written).size).toBe(written.length);
  expect(reconciler.counters.comparisons).toBe(1);
  expect(Object.values(reconciler.counters.repairs).every((count) => count === 0)).toBe(true);
});

test("what is told meanwhile is compared with what is there when all is written", async () => {
  const { source, programmed, kernel, reconciler, tell } = scene(yaml, calm);
  const written = writesOf(kernel);
  const write = kernel.applyOffLoop.bind(kernel);
  kernel.applyOffLoop = async (changes) => {
    const isFirst = written.length === 0;
    await new Promise((resolve) => setTimeout(resolve, 20));
    if (isFirst) {
      const [objects, devices, lossy] = [new Set<never>(), new Set<never>(), new Set<never>()];
      tell({ objects, devices, lossy, changes: [], overflow: true });
    }
    await write(changes);
  };
  source.set(aSnapshot({ nodes: cluster }));
  const { plan } = await programmed();
  await vi.waitFor(() => expect(reconciler.counters.comparisons).toBe(2), waiting);
  expect(diffNode(desiredOf(plan), observeNode(kernel), sure)).toEqual([]);
  expect(new Set(written).size).toBe(written.length);
});

test("settings are asked for while the kernel writes nothing else, the table while it writes the rest", async () => {
  const { source, programmed, kernel, rests } = scene(yaml, calm);
  const [write, read] = [kernel.applyOffLoop.bind(kernel), kernel.readSysctl.bind(kernel)];
  let underWay = 0;
  const asked: number[] = [];
  kernel.applyOffLoop = async (changes) => {
    underWay++;
    await new Promise((resolve) => setTimeout(resolve, 5));
    await write(changes).finally(() => underWay--);
  };
  kernel.readSysctl = (name) => {
    asked.push(underWay);
    return read(name);
  };
  source.set(aSnapshot({ nodes: cluster }));
  await programmed();
  await rests();
  expect(read("net/ipv4/ip_forward")).toBe("1");
  kernel.apply([{ kind: "remove-link", device: vxlanDevice }]);
  await vi.waitFor(() => expect(kernel.fdb(vxlanDevice)).toHaveLength(1_299), waiting);
  await rests();
  expect(new Set(asked)).toEqual(new Set([0]));
});

test("a cluster that changes while it is written is the new one in the end", async () => {
  const { source, kernel, reaches } = scene(yaml, calm);
  source.set(aSnapshot({ nodes: cluster }));
  await vi.waitFor(() => expect(kernel.fdb(vxlanDevice).length).toBeGreaterThan(0), waiting);
  const changed = aSnapshot({ nodes: [...cluster.slice(0, 700), peerNode(3_000)] });
  source.set(changed);
  const { plan } = await reaches(
    ({ isProgrammed, snapshot }) => isProgrammed && snapshot.nodes.size === 701,
  );
  expect(plan.peers.size).toBe(700);
  expect(diffNode(desiredOf(plan), observeNode(kernel), sure)).toEqual([]);
});

test("a refusal among thousands is named, and all is tried again", async () => {
  const { source, programmed, reaches, kernel, reconciler } = scene(yaml);
  kernel.failNext(
    (change) => change.kind === "replace-fdb" && change.entry.destination === "172.20.4.0",
    "ENOBUFS",
  );
  source.set(aSnapshot({ nodes: cluster }));
  const failed = await reaches(({ problems }) => problems.length > 0);
  expect(problemsOf(failed)).toEqual([
    expect.stringMatching(/^kernel: Cannot apply "bridge fdb replace .* dst 172.20.4.0 .*ENOBUFS/),
  ]);
  expect(failed.isProgrammed).toBe(false);
  const { plan } = await programmed();
  expect(diffNode(desiredOf(plan), observeNode(kernel), sure)).toEqual([]);
  expect(reconciler.counters.failures).toBe(1);
});

test("a device that is gone comes back with all that was on it, as repairs", async () => {
  const { source, programmed, kernel, reconciler, rests } = scene(yaml, calm);
  source.set(aSnapshot({ nodes: cluster }));
  const { plan } = await programmed();
  await rests();
  kernel.apply([{ kind: "remove-link", device: vxlanDevice }]);
  const { repairs } = reconciler.counters;
  await vi.waitFor(() => expect(repairs.route).toBeGreaterThan(0), waiting);
  expect(diffNode(desiredOf(plan), observeNode(kernel), sure)).toEqual([]);
  expect([repairs.neighbor, repairs.fdb, repairs.route]).toEqual([1_299, 1_299, 1_299]);
});
