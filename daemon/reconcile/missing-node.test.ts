import { expect, test } from "vitest";
import { settleMembership } from "../../core/cluster/membership.ts";
import { cidr, ifName, interfaceCidr } from "../../test/support/builders.ts";
import { nodeA, nodeB, nodeC } from "../../test/support/overlay.ts";
import { parseConfig } from "../config/config.ts";
import { parseManifest } from "../source/manifest.ts";
import { hintAtMissingNode, type MissingNodeInput } from "./missing-node.ts";

test("hintAtMissingNode() says so when no pod CIDR is left", () => {
  const config = "network: { podCIDRs: [10.244.0.0/23] }";
  const { network } = parseConfig(config, "test", { nodeName: "node-d" });
  const membership = settleMembership(
    [
      { ...nodeA, podCidrs: [cidr("10.244.0.0/24")] },
      { ...nodeB, podCidrs: [cidr("10.244.1.0/24")] },
    ],
    network.podCidrs,
  );
  const input: MissingNodeInput = {
    nodeName: "node-d",
    network,
    source: { kind: "file", location: "cluster.d" },
    membership,
    links: [],
  };
  expect(hintAtMissingNode(input)).toMatch(
    /"POD-CIDR".*\. No pod CIDR is left for a node: all 2 blocks of \/24 in 10\.244\.0\.0\/23 are taken$/,
  );
});

test("hintAtMissingNode() gives a manifest that would do", () => {
  const { network } = parseConfig("", "test", { nodeName: "node-d" });
  const device = (name: string, index: number, address: string) => ({
    link: { name: ifName(name), index, mtu: 1500, isUp: true, group: 0 },
    addresses: [{ device: ifName(name), ...interfaceCidr(address) }],
  });
  const hint = hintAtMissingNode({
    nodeName: "node-d",
    network,
    source: { kind: "file", location: "/etc/fairlead/cluster.d" },
    membership: settleMembership([nodeA, nodeB, nodeC], network.podCidrs),
    links: [device("lo", 1, "127.0.0.1/8"), device("eth0", 2, "172.30.1.14/24")],
  });
  expect(hint).toBe(
    'Cannot find Node node-d in /etc/fairlead/cluster.d, which has node-a, node-b, node-c: expected a manifest such as {"apiVersion":"v1","kind":"Node","metadata":{"name":"node-d"},"spec":{"podCIDRs":["10.244.0.0/24"]},"status":{"addresses":[{"type":"InternalIP","address":"172.30.1.14"}]}}, which `fairlead ipam assign --add-node node-d --address 172.30.1.14` writes',
  );
  expect(parseManifest(hint.slice(hint.indexOf("{"), hint.lastIndexOf("}") + 1))).toMatchObject({
    objects: [{ value: { object: { name: "node-d", podCidrs: ["10.244.0.0/24"] } } }],
  });
});

test("hintAtMissingNode() of Kubernetes speaks of the kubelet, not of manifests", () => {
  const { network } = parseConfig("", "test", { nodeName: "node-d" });
  const hint = hintAtMissingNode({
    nodeName: "node-d",
    network,
    source: { kind: "kubernetes", location: "https://192.0.2.1:6443" },
    membership: settleMembership([nodeA], network.podCidrs),
    links: [],
  });
  expect(hint).toBe(
    "Cannot find Node node-d in https://192.0.2.1:6443, which has node-a: expected nodeName to be the name under which the machine's kubelet registers, and the kubelet to run",
  );
});
