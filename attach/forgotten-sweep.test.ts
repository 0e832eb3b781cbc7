import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { hostInterfaceName } from "../core/names.ts";
import { momentOf } from "../ipam/lease-memory.ts";
import type { FakeKernel } from "../kernel/fake.ts";
import {
  type TestNode,
  aRequest,
  createFakeMachine,
  createNode,
  forever,
} from "../test/attach/fixture.ts";
import { TestMachineClocks } from "../test/ipam/machine.ts";
import type { ForgottenSweep } from "./forgotten-sweep.ts";

const graceMs = 300_000;
let kernel: FakeKernel;
let node: TestNode;
let machine: TestMachineClocks;
let live: Set<number> | undefined;
let sweep: ForgottenSweep;
beforeEach(async () => {
  kernel = createFakeMachine();
  node = createNode(kernel);
  machine = new TestMachineClocks();
  live = new Set();
  const now = () => momentOf({ clock: machine, boot: machine });
  sweep = node.handlers.forgotten({ now, liveNamespaces: async () => live, graceMs });
  await node.handlers.add(aRequest(), forever);
  await node.handlers.add(aRequest({ containerId: "c2" }), forever);
});
afterEach(() => {
  node[Symbol.dispose]();
  kernel[Symbol.dispose]();
});

const look = async (isDryRun = false): Promise<string[]> =>
  (await sweep.run(forever, { isDryRun })).map(
    ({ kind, containerId, addresses, why }) => `${kind} ${containerId} ${addresses.join()} ${why}`,
  );
const containers = () => node.records.list().records.map(({ key }) => key.containerId);
const gone = ["attachment c1 10.244.1.2 its sandbox is gone"];

describe("ForgottenSweep", () => {
  test("ends what has lost its sandbox for the grace, and nothing else", async () => {
    kernel.removeSandbox("/run/netns/c1");
    expect(await look()).toEqual([]);
    machine.pass(graceMs - 1);
    expect(await look()).toEqual([]);
    machine.pass(1);
    expect(await look()).toEqual(gone);
    expect(containers()).toEqual(["c2"]);
    expect((await node.ipam.leases("fairlead")).map(({ containerId }) => containerId)).toEqual([
      "c2",
    ]);
    expect(await look()).toEqual([]);
  });

  test("only says so in a dry run", async () => {
    kernel.removeSandbox("/run/netns/c1");
    await look(true);
    machine.pass(graceMs);
    expect(await look(true)).toEqual(gone);
    expect(await look(true)).toEqual(gone);
    expect(containers()).toHaveLength(2);
  });

  test("keeps one whose namespace somebody has, or when that cannot be told", async () => {
    const inode = node.records.read(aRequest().key)!.sandbox.inode;
    kernel.removeSandbox("/run/netns/c1");
    live = new Set([inode]);
    await look();
    machine.pass(graceMs);
    expect(await look()).toEqual([]);
    live = undefined;
    machine.pass(graceMs);
    expect(await look()).toEqual([]);
    live = new Set();
    expect(await look()).toEqual([]);
  });

  test("keeps one whose interface is there", async () => {
    expect(kernel.link(hostInterfaceName(aRequest().key))).toBeDefined();
    await look();
    machine.pass(graceMs);
    expect(await look()).toEqual([]);
  });

  test("keeps one that a request is at work on, and one that came again meanwhile", async () => {
    kernel.removeSandbox("/run/netns/c1");
    await look();
    machine.pass(graceMs);
    const lock = node.records.tryLock(aRequest().key);
    expect(await look()).toEqual([]);
    lock?.[Symbol.dispose]();
    const record = node.records.read(aRequest().key)!;
    node.records.write({ ...record, createdAtMs: record.createdAtMs + 1 });
    expect(await look()).toEqual([]);
    expect(containers()).toHaveLength(2);
  });
});
