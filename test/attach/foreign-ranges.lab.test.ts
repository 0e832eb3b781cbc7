// Ranges of a configuration's own, where the daemon has told the real kernel of the other nodes.
import { afterAll, beforeAll, expect, test } from "vitest";
import { ownIpamType } from "../../core/cni/config.ts";
import { CniCode } from "../../core/cni/error.ts";
import { type RunningNode, ThreeNodes } from "../daemon/three-nodes.ts";
import { cidr, ip } from "../support/builders.ts";
import { type TestNamespace, createNamespace } from "../support/netns.ts";
import { aRequest, createNode, facts, forever } from "./fixture.ts";

let lab: ThreeNodes;
let running: RunningNode;
let sandbox: TestNamespace;

beforeAll(async () => {
  lab = new ThreeNodes();
  running = lab.start("node-a");
  sandbox = createNamespace();
  await running.programmed();
});
afterAll(async () => {
  sandbox[Symbol.dispose]();
  await lab[Symbol.asyncDispose]();
});

/** The addresses that a pod of node-a gets of a range of this one address. */
async function ask(address: string): Promise<readonly string[]> {
  const nodeFacts = () => ({ ...facts, nodeAddresses: [ip("172.30.1.11")] });
  using node = createNode(running.kernel, { nodeFacts });
  const [rangeStart, rangeEnd] = [ip(address), ip(address)];
  const range = { subnet: cidr("172.30.0.0/16"), rangeStart, rangeEnd };
  const ipam = { type: ownIpamType, ranges: [[range]], routes: [], requestedIps: [] };
  const request = aRequest({ netns: sandbox.path, conf: { name: "storage", ipam } });
  try {
    const { ips } = await node.handlers.add(request, forever);
    return ips.map((given) => given.address.address);
  } finally {
    await node.handlers.del(request, forever);
    await node.handlers.settled();
  }
}

test.each([
  ["a node on the link", "172.30.1.12"],
  ["a node behind the tunnel", "172.30.2.13"],
])("the address of %s is refused, and it stays reachable", async (_, address) => {
  await expect(ask(address)).rejects.toMatchObject({
    code: CniCode.invalidConfig,
    message: expect.stringContaining(`${address}, another node's own address`),
  });
  expect(running.node.run("ping", "-c1", "-W5", address)).toContain("1 received");
});

test("an address between theirs is given", async () => {
  expect(await ask("172.30.2.14")).toEqual(["172.30.2.14"]);
});
