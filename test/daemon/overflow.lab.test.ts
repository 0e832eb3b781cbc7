// A watch that is drowned in notifications, as a storm of somebody else's routes does it to a daemon that is
// at work meanwhile: what the kernel dropped is found by comparing everything.
import { expect, test, vi } from "vitest";
import type { Change } from "../../core/network.ts";
import { observeNode } from "../../daemon/reconcile/observe.ts";
import { openKernel } from "../../kernel/linux.ts";
import { aRoute } from "../contract/kernels.ts";
import { ifName } from "../support/builders.ts";
import { ThreeNodes } from "./three-nodes.ts";

const waiting = { timeout: 30_000, interval: 10 };
/** Nothing is looked at for time's sake. */
const patient = {
  pauseMs: 10,
  resyncMs: 3_600_000,
  fullMs: 3_600_000,
  fullShare: 1,
  backoffMs: 100,
  backoffMaxMs: 5000,
};

test("notifications that are lost lead to a full comparison, and nothing is missed", async () => {
  await using lab = new ThreeNodes();
  const { kernel, reconciler, programmed, node } = lab.start("node-a", {
    timing: patient,
    watchOctets: 64 << 10,
  });
  await programmed();
  const { counters } = reconciler;
  // Its own changes have come back, and the loop rests.
  await vi.waitFor(async () => {
    const { passes } = counters;
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(counters.passes).toBe(passes);
  }, waiting);
  const before = observeNode(kernel);
  const { losses, comparisons } = { ...counters };
  using somebody = openKernel({ namespace: node.path });
  const foreign = Array.from({ length: 3_000 }, (_, i) =>
    aRoute(`100.${64 + (i >> 8)}.${i & 255}.0/24`, ifName("eth0"), { metric: i + 1, protocol: 4 }),
  );
  const [route] = before.routes.filter(({ destination }) => destination === "10.244.3.0/24");
  const storm: Change[] = [
    ...foreign.map((one): Change => ({ kind: "add-route", route: one })),
    // Told of when there is no room any more.
    { kind: "remove-route", route: route! },
    { kind: "remove-neighbor", neighbor: before.neighbors[0]! },
    { kind: "remove-fdb", entry: before.fdb[0]! },
    ...foreign.map((one): Change => ({ kind: "remove-route", route: one })),
  ];
  // In one piece: the daemon's loop, which runs in this process, reads nothing meanwhile.
  somebody.apply(storm);
  expect(observeNode(kernel)).not.toEqual(before);
  await vi.waitFor(() => expect(observeNode(kernel)).toEqual(before), waiting);
  expect(counters.losses).toBe(losses + 1);
  expect(counters.comparisons).toBeGreaterThan(comparisons);
  expect(counters.repairs).toMatchObject({ route: 1, neighbor: 1, fdb: 1 });
});
