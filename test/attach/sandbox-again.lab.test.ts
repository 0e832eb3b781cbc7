// A sandbox that is used again under another container id, while the attachment before is ending or was
// left in the middle of it: on the real kernel.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { CniCode } from "../../core/cni/error.ts";
import type { AttachmentRequest } from "../../core/cni/types.ts";
import { hostInterfaceName } from "../../core/names.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { openKernel } from "../../kernel/linux.ts";
import { type TestNamespace, createNamespace } from "../support/netns.ts";
import { type TestNode, aRequest, createNode, dualStackFacts, forever } from "./fixture.ts";

let stack: DisposableStack;
let host: TestNamespace;
let kernel: Kernel;
let node: TestNode;
let first: AttachmentRequest;
let second: AttachmentRequest;

beforeEach(() => {
  stack = new DisposableStack();
  host = stack.use(createNamespace());
  host.run("ip", "link", "add", "uplink", "type", "veth", "peer", "name", "wire");
  for (const end of ["uplink", "wire"]) host.run("ip", "link", "set", end, "up");
  host.run("ip", "address", "add", "192.0.2.1/24", "dev", "uplink");
  host.run("ip", "address", "add", "2001:db8::1/64", "dev", "uplink", "nodad");
  kernel = stack.use(openKernel({ namespace: host.path }));
  node = stack.use(createNode(kernel, { nodeFacts: () => dualStackFacts }));
  const sandbox = stack.use(createNamespace());
  first = aRequest({ containerId: "first", netns: sandbox.path });
  second = aRequest({ containerId: "second", netns: sandbox.path });
});
afterEach(async () => {
  await node.handlers.settled();
  stack.dispose();
});

const ping = (address: string): string => host.run("ping", "-c1", "-W2", address);
const holders = async (): Promise<readonly string[]> => [
  ...new Set((await node.ipam.leases("fairlead")).map(({ containerId }) => containerId)),
];

async function addAndReach(request: AttachmentRequest): Promise<void> {
  const { ips } = await node.handlers.add(request, forever);
  for (const { address } of ips) expect(ping(address.address)).toContain("1 received");
}

/** A DEL whose process is killed when it has taken the interface down. */
async function killDel({ key }: AttachmentRequest): Promise<void> {
  const program = join(import.meta.dirname, "deleter.ts");
  const words = [program, host.path, key.containerId, node.directory];
  const [, signal] = await once(spawn(process.execPath, words, { stdio: "inherit" }), "exit");
  expect(signal).toBe("SIGKILL");
  expect(kernel.link(hostInterfaceName(key))).toMatchObject({ isUp: false });
  expect(node.records.read(key)).toBeDefined();
  expect(await holders()).toEqual([key.containerId]);
}

async function expectEnds(...requests: readonly AttachmentRequest[]): Promise<void> {
  for (const request of requests) await node.handlers.del(request, forever);
  await node.handlers.settled();
  expect(node.leftovers()).toEqual([]);
}

test("a DEL that was killed is finished by the ADD of another container", async () => {
  await addAndReach(first);
  await killDel(first);
  await addAndReach(second);
  expect(node.records.read(first.key)).toBeUndefined();
  expect(kernel.link(hostInterfaceName(first.key))).toBeUndefined();
  expect(await holders()).toEqual(["second"]);
  // It comes again, as it was never answered, and leaves the other one alone.
  await node.handlers.del(first, forever);
  expect(node.records.read(second.key)).toBeDefined();
  await expectEnds(first, second);
});

test("a DEL that was answered a moment ago does not stand in the way", async () => {
  await addAndReach(first);
  await node.handlers.del(first, forever);
  expect(kernel.link(hostInterfaceName(first.key))).toBeDefined();
  await addAndReach(second);
  await expectEnds(second);
});

test("the start of a daemon finishes it too, and nobody puts the interface up again", async () => {
  await addAndReach(first);
  await killDel(first);
  expect(node.handlers.mend()).toEqual([]);
  expect(kernel.link(hostInterfaceName(first.key))).toMatchObject({ isUp: false });
  expect(await node.handlers.sweep(forever)).toMatchObject({ attachments: 1 });
  expect(await holders()).toEqual([]);
  await addAndReach(second);
  await expectEnds(first, second);
});

test.each(["up", "down"])(
  "an attachment that lives keeps its interface, also %s",
  async (state) => {
    await addAndReach(first);
    host.run("ip", "link", "set", hostInterfaceName(first.key), state);
    await expect(node.handlers.add(second, forever)).rejects.toMatchObject({
      code: CniCode.interfaceTaken,
    });
    expect(await holders()).toEqual(["first"]);
    node.handlers.mend();
    await addAndReach(first);
    await expectEnds(first, second);
  },
);
