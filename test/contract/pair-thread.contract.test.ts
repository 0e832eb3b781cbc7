// kernel/pair-thread.ts on Linux: what the thread makes, and how it begins and ends.
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { silentLog } from "../../core/log.ts";
import type { Change } from "../../core/network.ts";
import { openPairMaking } from "../../daemon/cni/pair-making.ts";
import type { Kernel, Sandbox } from "../../kernel/kernel.ts";
import { openKernel } from "../../kernel/linux.ts";
import { PairThread } from "../../kernel/pair-thread.ts";
import { ip } from "../support/builders.ts";
import { type TestNamespace, createNamespace } from "../support/netns.ts";
import { aRoute, addVeth, hostEnd, podEnd, setUp } from "./kernels.ts";

const patient = { timeout: 30_000 };

let stack: DisposableStack;
let node: TestNamespace;
let kernel: Kernel;
let inside: TestNamespace;
let sandbox: Sandbox;
beforeEach(() => {
  stack = new DisposableStack();
  node = stack.use(createNamespace());
  kernel = stack.use(openKernel({ namespace: node.path }));
  inside = stack.use(createNamespace());
  sandbox = stack.use(kernel.openSandbox(inside.path));
});
afterEach(() => stack.dispose());

const hostRoute: Change = { kind: "add-route", route: aRoute("10.244.1.7/32", hostEnd.name) };
const podAddress: Change = {
  kind: "add-address",
  address: { device: podEnd.name, address: ip("10.244.1.7"), prefixLength: 32 },
};
const aPair = () => ({
  node: [addVeth(sandbox.fd), setUp(hostEnd.name), hostRoute],
  sandbox: [setUp(podEnd.name), podAddress],
  device: hostEnd.name,
  sandboxFd: sandbox.fd,
});

async function openThread(idleMs?: number): Promise<PairThread> {
  const options = { namespace: node.path, log: silentLog, ...(idleMs !== undefined && { idleMs }) };
  const thread = stack.use(new PairThread(options));
  await vi.waitFor(() => expect(thread.isFree).toBe(true), patient);
  return thread;
}

test("makes the node's end in the node and the pod's in the sandbox", async () => {
  const thread = await openThread();
  expect(await thread.make(aPair())).toEqual({ kind: "made", isRunning: true });
  expect(kernel.link(hostEnd.name)).toMatchObject({ isUp: true, index: hostEnd.index });
  expect(kernel.routes({ device: hostEnd.name })).toHaveLength(1);
  expect(sandbox.link(podEnd.name)).toMatchObject({ isUp: true });
  expect(inside.run("ip", "-o", "address", "show", "dev", podEnd.name)).toContain("10.244.1.7/32");
});

test("says which batch failed, why, and begins no sandbox's after the node's", async () => {
  const thread = await openThread();
  kernel.apply([addVeth(sandbox.fd)]);
  expect(await thread.make(aPair())).toMatchObject({
    kind: "failed",
    batch: "node",
    error: { name: "KernelError", errno: "EEXIST" },
  });
  expect(sandbox.link(podEnd.name)).toMatchObject({ isUp: false });
  kernel.apply([{ kind: "remove-link", device: hostEnd.name }]);
  const twice = { ...aPair(), sandbox: [setUp(podEnd.name), podAddress, podAddress] };
  expect(await thread.make(twice)).toMatchObject({
    kind: "failed",
    batch: "sandbox",
    error: { errno: "EEXIST", message: expect.stringContaining("10.244.1.7/32") },
  });
});

test("makes many that are asked for at once, each in its own sandbox", async () => {
  const thread = await openThread();
  const sandboxes = Array.from({ length: 12 }, () => stack.use(createNamespace()));
  const opened = sandboxes.map(({ path }) => stack.use(kernel.openSandbox(path)));
  const outcomes = await Promise.all(
    opened.map(({ fd }, at) => {
      const veth = addVeth(fd);
      if (veth.kind !== "add-veth") throw new Error("not a pair");
      const host = { ...veth.host, name: `many${at}` as never, index: 9_000_000 + at };
      const device = host.name;
      return thread.make({
        node: [{ ...veth, host }],
        sandbox: [podAddress],
        device,
        sandboxFd: fd,
      });
    }),
  );
  // Nobody has set them up.
  const made = { kind: "made", isRunning: false };
  expect(outcomes).toEqual(Array.from({ length: 12 }, () => made));
  for (const at of opened.keys()) {
    expect(kernel.link(`many${at}`)?.index).toBe(9_000_000 + at);
    expect(opened[at]?.link(podEnd.name)?.linkIndex).toBe(9_000_000 + at);
  }
});

test("fails what a thread that ends has not answered", async () => {
  const thread = await openThread();
  const making = thread.make(aPair());
  thread[Symbol.dispose]();
  await expect(making).rejects.toMatchObject({ name: "KernelError", errno: "EIO" });
});

test("ends when nothing is asked of it, and starts again", async () => {
  const thread = await openThread(200);
  await thread.make(aPair());
  const count = () =>
    Number(/Threads:\s+(\d+)/.exec(inside.run("cat", `/proc/${process.pid}/status`))?.[1]);
  const before = count();
  await vi.waitFor(() => expect(count()).toBeLessThan(before), patient);
  await vi.waitFor(() => expect(thread.isFree).toBe(true), patient);
  kernel.apply([{ kind: "remove-link", device: hostEnd.name }]);
  expect(await thread.make(aPair())).toEqual({ kind: "made", isRunning: true });
});

/** A machine on which so many threads want to run, the daemon's one of them. */
const machine = (processors: number, length: number) => ({
  processors,
  running: { length, [Symbol.dispose]: () => {} },
});

test("the daemon uses it while requests wait, and never on one processor", async () => {
  using pairs = openPairMaking(silentLog, machine(2, 1));
  using alone = openPairMaking(silentLog, machine(1, 1));
  expect(pairs.makers?.thread()).toBeUndefined();
  for (const { onWaiting } of [pairs, alone]) onWaiting(3);
  expect(pairs.makers?.thread()).toBeUndefined();
  expect(alone.makers).toBeUndefined();
  await vi.waitFor(() => expect(pairs.makers?.thread()).toBeInstanceOf(PairThread), patient);
  pairs.onWaiting(0);
  expect(pairs.makers?.thread()).toBeUndefined();
});

test("another thread makes the pair alone while no request waits and a processor is idle", () => {
  using pairs = openPairMaking(silentLog, machine(2, 1));
  using busy = openPairMaking(silentLog, machine(2, 2));
  expect(pairs.makers?.isBeside()).toBe(true);
  expect(busy.makers?.isBeside()).toBe(false);
  pairs.onWaiting(1);
  expect(pairs.makers?.isBeside()).toBe(false);
});
