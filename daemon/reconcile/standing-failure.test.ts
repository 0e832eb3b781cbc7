import { describe, expect, test, vi } from "vitest";
import { desiredOf } from "../../core/desired/plan.ts";
import { diffNode } from "../../core/diff.ts";
import { vxlanDevice } from "../../core/names.ts";
import { aNode, cidr } from "../../test/support/builders.ts";
import { nodeA, nodeB, nodeC } from "../../test/support/overlay.ts";
import { calm, scene, sure, timing, waiting } from "../../test/support/reconciler.ts";
import { observeNode } from "./observe.ts";

/** A try that fails is the last one of the test. */
const patient = { ...calm, backoffMs: 600_000, backoffMaxMs: 600_000 };

describe("while the nftables table is refused", () => {
  async function refused(paces: typeof timing) {
    const all = scene("", paces);
    const apply = all.kernel.applyNft.bind(all.kernel);
    all.kernel.applyNft = () => {
      throw new Error("refused");
    };
    all.source.setNodes(nodeA, nodeB, nodeC);
    const { plan } = await all.reaches(({ problems }) => problems.length > 0);
    const allow = (): void => void (all.kernel.applyNft = apply);
    const remove = (destination: string): void => {
      const routes = all.kernel.routes({ protocol: 76 });
      const route = routes.find((one) => one.destination === destination);
      all.kernel.apply([{ kind: "remove-route", route: route! }]);
    };
    return { ...all, plan, allow, remove };
  }

  test("what is told of a single object is put back without waiting, and counts", async () => {
    const { remove, has, rests, reconciler, ledger, kernel, plan, states } = await refused(patient);
    await rests();
    remove("10.244.3.0/24");
    await has("10.244.3.0/24");
    remove("10.244.2.0/24");
    await has("10.244.2.0/24");
    const [entry] = kernel.fdb(vxlanDevice);
    kernel.apply([{ kind: "remove-fdb", entry: entry! }]);
    await vi.waitFor(() => expect(kernel.fdb(vxlanDevice)).toEqual([entry]), waiting);
    await rests();
    expect(reconciler.counters.repairs).toMatchObject({ route: 2, fdb: 1, link: 0, nftables: 0 });
    expect(ledger.entries().map(({ kind }) => kind)).toEqual(["route", "route", "fdb"]);
    expect(diffNode(desiredOf(plan), observeNode(kernel), sure)).toEqual([]);
    // The whole was tried once.
    expect([states.length, reconciler.counters.comparisons]).toEqual([1, 1]);
    expect(reconciler.counters.failures).toBe(1);
  });

  test("what a comparison finds counts too, the table itself does not", async () => {
    const { tell, remove, has, allow, programmed, reconciler } = await refused(timing);
    tell("nothing");
    remove("10.244.3.0/24");
    await has("10.244.3.0/24");
    await vi.waitFor(() => expect(reconciler.counters.repairs.route).toBe(1), waiting);
    allow();
    await programmed();
    expect(reconciler.counters.repairs).toMatchObject({ route: 1, nftables: 0 });
  });

  test("what the cluster wants is done at once", async () => {
    const { source, has, lacks, remove } = await refused(patient);
    source.setNodes(nodeA, nodeC, aNode("node-d", "172.30.2.14", "10.244.4.0/24"));
    await has("10.244.4.0/24");
    await lacks("10.244.2.0/24");
    remove("10.244.4.0/24");
    await has("10.244.4.0/24");
  });

  test("what somebody adds is removed", async () => {
    const { kernel, has, lacks, rests } = await refused(patient);
    await rests();
    const routes = kernel.routes({ protocol: 76 });
    const like = routes.find((one) => one.destination === "10.244.3.0/24");
    kernel.apply([{ kind: "add-route", route: { ...like!, destination: cidr("10.244.9.0/24") } }]);
    await has("10.244.3.0/24");
    await lacks("10.244.9.0/24");
  });
});

test("the return of what was there before a try that failed counts as a repair", async () => {
  const { source, programmed, kernel, reconciler, ledger, rests } = scene("", calm);
  source.setNodes(nodeA, nodeC);
  const { plan } = await programmed();
  await rests();
  kernel.failNext(({ kind }) => kind === "add-vxlan", "EEXIST");
  kernel.apply([{ kind: "remove-link", device: vxlanDevice }]);
  await vi.waitFor(() => expect(reconciler.counters.failures).toBe(1), waiting);
  await vi.waitFor(
    () => expect(diffNode(desiredOf(plan), observeNode(kernel), sure)).toEqual([]),
    waiting,
  );
  await rests();
  expect(reconciler.counters.repairs).toMatchObject({ fdb: 1, neighbor: 1 });
  expect(reconciler.counters.repairs.link).toBeGreaterThan(0);
  expect(ledger.entries().map(({ done }) => done)).toContainEqual(
    expect.stringContaining("ip link add fl-vxlan"),
  );
});
