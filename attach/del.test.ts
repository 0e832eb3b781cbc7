import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { KernelError } from "../core/error.ts";
import { hostInterfaceName } from "../core/names.ts";
import type { FakeKernel } from "../kernel/fake.ts";
import {
  type TestNode,
  aRequest,
  createFakeMachine,
  createNode,
  forever,
} from "../test/attach/fixture.ts";

let kernel: FakeKernel;
let node: TestNode;
let reaping: PromiseWithResolvers<void>;

// A kernel that takes its time to remove an interface, as Linux does.
beforeEach(() => {
  kernel = createFakeMachine();
  reaping = Promise.withResolvers();
  node = createNode({
    ...kernel,
    reap: async (devices) => {
      await reaping.promise;
      await kernel.reap(devices);
    },
  });
});
afterEach(() => node[Symbol.dispose]());

const request = aRequest();
const device = hostInterfaceName(request.key);

describe("del()", () => {
  test("answers when the traffic has ended, before the interface is gone", async () => {
    await node.handlers.add(request, forever);
    await node.handlers.del(request, forever);
    expect(kernel.link(device)).toMatchObject({ isUp: false });
    expect(node.leftovers()).toEqual([`link ${device}`]);
    reaping.resolve();
    await node.handlers.settled();
    expect(node.leftovers()).toEqual([]);
  });

  test("answers when the interface is gone, in a process that ends then", async () => {
    reaping.resolve();
    using plugin = createNode(kernel, { reap: "wait" });
    await plugin.handlers.add(request, forever);
    await plugin.handlers.del(request, forever);
    expect(plugin.leftovers()).toEqual([]);
  });

  test("does nothing, without a word, for what was never added", async () => {
    await node.handlers.del({ ...request, netns: "" }, forever);
    expect(node.leftovers()).toEqual([]);
    expect(node.log).toEqual([]);
  });

  test("finds the attachment when the sandbox is not named, or is another one by now", async () => {
    await node.handlers.add(request, forever);
    reaping.resolve();
    await node.handlers.del({ ...request, netns: "/run/netns/c2" }, forever);
    await node.handlers.settled();
    expect(node.leftovers()).toEqual([]);
  });

  test("keeps lease and record when the kernel refuses, for the next DEL", async () => {
    await node.handlers.add(request, forever);
    kernel.failNext(({ kind }) => kind === "set-link", "EPERM");
    await expect(node.handlers.del(request, forever)).rejects.toThrow(KernelError);
    expect(node.records.read(request.key)).toBeDefined();
    expect(await node.ipam.leases("fairlead")).toHaveLength(1);
    reaping.resolve();
    await node.handlers.del(request, forever);
    await node.handlers.settled();
    expect(node.leftovers()).toEqual([]);
  });

  test("logs an interface that the kernel does not remove", async () => {
    await node.handlers.add(request, forever);
    await node.handlers.del(request, forever);
    reaping.reject(new KernelError("remove links", "EBUSY"));
    await node.handlers.settled();
    expect(node.log.map(({ message }) => message)).toContain(
      "cannot remove a pod's host interface",
    );
  });
});

describe("an interface that is still being removed", () => {
  test("holds up an ADD of the same attachment", async () => {
    await node.handlers.add(request, forever);
    await node.handlers.del(request, forever);
    let isDone = false;
    const again = node.handlers.add(request, forever).then(() => (isDone = true));
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(isDone).toBe(false);
    reaping.resolve();
    await again;
    expect(kernel.link(device)?.isUp).toBe(true);
  });

  test("holds up an ADD that was given its address, and no other", async () => {
    await node.handlers.add(request, forever);
    await node.handlers.del(request, forever);
    const [address] = ["10.244.1.2"];
    const other = aRequest({ containerId: "c2" });
    await node.handlers.add(other, forever);
    const [lease] = await node.ipam.leases("fairlead");
    expect(lease!.address).not.toBe(address);
    reaping.resolve();
  });
});
