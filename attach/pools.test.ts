// Addresses of pools through the whole of ADD and STATUS; ipam/pool.test.ts has which pool it is.
import { expect, test } from "vitest";
import { CniCode } from "../core/cni/error.ts";
import {
  aNetworkRequest,
  aRequest,
  createFakeMachine,
  createNode,
  facts,
  forever,
} from "../test/attach/fixture.ts";
import { cidr } from "../test/support/builders.ts";

const pools = [
  { name: "db", cidrs: [cidr("10.250.0.0/16")] },
  { name: "edge", cidrs: [cidr("10.251.0.0/16")] },
];
const args = (namespace: string, name: string): ReadonlyMap<string, string> =>
  new Map([
    ["K8S_POD_NAMESPACE", namespace],
    ["K8S_POD_NAME", name],
  ]);

test("a pod gets an address of the pool that its namespace chooses", async () => {
  const podCidrs = [...facts.podCidrs, cidr("10.250.1.0/24")];
  const nodeFacts = () => ({ ...facts, podCidrs, pools, namespacePools: { shop: "db" } });
  using node = createNode(createFakeMachine(), { nodeFacts });
  const given = async (container: string, namespace: string) => {
    const request = aRequest({ containerId: container, args: args(namespace, "web") });
    const { ips } = await node.handlers.add(request, forever);
    return ips.map(({ address }) => address.address);
  };
  expect(await given("c1", "shop")).toEqual(["10.250.1.2"]);
  expect(await given("c2", "demo")).toEqual(["10.244.1.2"]);
});

test("a node that has blocks of one pool alone serves its pods, and no others", async () => {
  const nodeFacts = () => ({
    ...facts,
    podCidrs: [cidr("10.250.1.0/30")],
    pools,
    namespacePools: { shop: "db", web: "edge" },
  });
  using node = createNode(createFakeMachine(), { nodeFacts });
  await node.handlers.status(aNetworkRequest(), forever);
  await expect(
    node.handlers.add(aRequest({ args: args("web", "x") }), forever),
  ).rejects.toMatchObject({
    code: CniCode.addressesExhausted,
    message: expect.stringContaining('node "node-a" has no block of it'),
  });
  expect(node.records.list().records).toEqual([]);
  await node.handlers.add(aRequest({ args: args("shop", "x") }), forever);
  await expect(node.handlers.status(aNetworkRequest(), forever)).rejects.toMatchObject({
    code: CniCode.notAvailable,
    message: expect.stringContaining('all 1 of pool "db"'),
  });
});
