import { expect, test } from "vitest";
import { aNode, cidr, ip } from "../../test/support/builders.ts";
import { settleMembership } from "./membership.ts";
import type { Pod } from "./model.ts";

const clusterCidrs = [cidr("10.244.0.0/16")];
const [a, b] = [aNode("a", "192.0.2.1", "10.244.1.0/24"), aNode("b", "192.0.2.2", "10.244.2.0/24")];
const aPod = (address: string, more: Partial<Pod> = {}): Pod => ({
  namespace: "demo",
  name: `pod-${address}`,
  ips: [ip(address)],
  nodeName: "a",
  isHostNetwork: false,
  ...more,
});
const straysOf = (...pods: readonly Pod[]): Record<string, readonly string[]> =>
  Object.fromEntries(
    [...settleMembership([a, b], clusterCidrs, pods).nodes.values()].flatMap((node) =>
      node.strays === undefined ? [] : [[node.name, node.strays]],
    ),
  );

test("finds a pod's address that is in no block of its node", () => {
  expect(straysOf(aPod("10.244.1.7"), aPod("10.244.9.7"), aPod("10.244.9.8"))).toEqual({
    a: ["10.244.9.7", "10.244.9.8"],
  });
});

test.each([
  ["in another node's block", aPod("10.244.2.7")],
  ["outside the cluster", aPod("192.0.2.77")],
  ["of a pod in the node's own network", aPod("10.244.9.7", { isHostNetwork: true })],
  ["of a pod on a node that the cluster does not have", aPod("10.244.9.7", { nodeName: "c" })],
])("passes over an address %s", (_, pod) => {
  expect(straysOf(pod)).toEqual({});
});

test("judges a pod anew when its node's blocks have changed", () => {
  const pod = aPod("10.244.9.7");
  const wider = { ...a, podCidrs: [...a.podCidrs, cidr("10.244.9.0/24")] };
  const strays = (node: typeof a) => settleMembership([node], clusterCidrs, [pod]).nodes.get("a")!;
  expect(strays(wider).strays).toBeUndefined();
  expect(strays(a).strays).toEqual(["10.244.9.7"]);
  expect(strays(wider).strays).toBeUndefined();
});
