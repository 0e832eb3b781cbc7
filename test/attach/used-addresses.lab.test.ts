// Leases that are lost while their pods run, on the real kernel, whose word it is that an address is in use.
import { rmSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { openKernel } from "../../kernel/linux.ts";
import { cidr } from "../support/builders.ts";
import { type TestNamespace, createNamespace } from "../support/netns.ts";
import { type TestNode, aRequest, createNode, facts, forever } from "./fixture.ts";

const nodeFacts = () => ({ ...facts, podCidrs: [cidr("10.244.1.0/28"), cidr("fd00::/120")] });
let stack: AsyncDisposableStack;
let host: TestNamespace;
let node: TestNode;

beforeEach(() => {
  stack = new AsyncDisposableStack();
  host = stack.use(createNamespace());
  host.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1");
  host.run("ip", "address", "add", "192.0.2.1/32", "dev", "lo");
  host.run("ip", "address", "add", "2001:db8::1/128", "dev", "lo");
  const kernel = stack.use(openKernel({ namespace: host.path }));
  node = stack.use(createNode(kernel, { nodeFacts }));
  stack.defer(() => node.handlers.settled());
});
afterEach(() => stack.disposeAsync());

test("a pod gets other addresses than those that running pods have without leases", async () => {
  const attach = async (of: TestNode) => {
    const sandbox = stack.use(createNamespace());
    const request = aRequest({ containerId: sandbox.name, netns: sandbox.path });
    const { ips } = await of.handlers.add(request, forever);
    return ips.map(({ address }) => address.address);
  };
  const before = [...(await attach(node)), ...(await attach(node)), ...(await attach(node))];
  rmSync(join(node.directory, "networks"), { recursive: true });
  const next = createNode(node.context.kernel, { nodeFacts }, node.directory);
  const given = await attach(next);
  await next.handlers.settled();
  expect(before).toEqual([
    "10.244.1.2",
    "fd00::2",
    "10.244.1.3",
    "fd00::3",
    "10.244.1.4",
    "fd00::4",
  ]);
  expect(given).toEqual(["10.244.1.5", "fd00::5"]);
  for (const address of [...before, ...given]) {
    expect(host.run("ping", "-c1", "-W5", address)).toContain("1 received");
  }
  const held = (await next.ipam.leases("fairlead")).map(({ address }) => address);
  expect(held.toSorted()).toEqual([...before, ...given].toSorted());
});
