import { describe, expect, test } from "vitest";
import { aNode, ip } from "../../test/support/builders.ts";
import {
  nodeCommands,
  outsideCommands,
  planTopology,
  routerCommands,
  type Topology,
} from "./topology.ts";

const demo: Topology = planTopology([
  aNode("node-a", "172.30.1.11", "10.244.1.0/24"),
  aNode("node-b", "172.30.1.12", "10.244.2.0/24"),
  aNode("node-c", "172.30.2.13", "10.244.3.0/24"),
]);

describe("planTopology()", () => {
  test("puts nodes of one /24 on one link and others behind the router", () => {
    expect(demo.nodes.map(({ name, link, port }) => [name, link, port])).toEqual([
      ["node-a", 0, "port1"],
      ["node-b", 0, "port2"],
      ["node-c", 1, "port3"],
    ]);
    expect(demo.links.map(({ cidr, router }) => [cidr, router])).toEqual([
      ["172.30.1.0/24", "172.30.1.1"],
      ["172.30.2.0/24", "172.30.2.1"],
    ]);
  });

  test.each([
    ["no node", [], "1 to 100"],
    ["a name of the lab's own", [aNode("router", "172.30.1.2", "10.1.0.0/24")], "Node router: "],
    ["the router's address", [aNode("n", "172.30.1.1", "10.1.0.0/24")], "it is the router's"],
    ["an address outside", [aNode("n", "203.0.113.7", "10.1.0.0/24")], "203.0.113.0/24 is outside"],
    [
      "no IPv4 address",
      [aNode("n", "172.30.1.2", "10.1.0.0/24", { addresses: [ip("fd00::1")] })],
      "Node n: No IPv4 InternalIP",
    ],
  ])("refuses %s", (_case, nodes, message) => {
    expect(() => planTopology(nodes)).toThrow(message);
  });
});

test("the commands build bridges, cables, addresses, and give the outside no route to a pod", () => {
  const [nodeA] = demo.nodes;
  expect(
    [
      "router:",
      ...routerCommands(demo, (name) => `/lab/${name}`),
      "node-a:",
      ...nodeCommands(demo, nodeA!),
      "outside:",
      ...outsideCommands(demo),
    ].join("\n"),
  ).toMatchInlineSnapshot(`
    "router:
    link add link1 type bridge
    address add 172.30.1.1/24 dev link1
    link set link1 up
    link add link2 type bridge
    address add 172.30.2.1/24 dev link2
    link set link2 up
    link add port1 type veth peer name eth0 netns /lab/node-a
    link set port1 master link1 up
    link add port2 type veth peer name eth0 netns /lab/node-b
    link set port2 master link1 up
    link add port3 type veth peer name eth0 netns /lab/node-c
    link set port3 master link2 up
    link add outside type bridge
    address add 203.0.113.1/24 dev outside
    link set outside up
    link add port-outside type veth peer name eth0 netns /lab/outside
    link set port-outside master outside up
    node-a:
    address add 172.30.1.11/24 dev eth0
    link set eth0 up
    route add default via 172.30.1.1
    outside:
    address add 203.0.113.10/24 dev eth0
    link set eth0 up
    route add 172.30.1.0/24 via 203.0.113.1
    route add 172.30.2.0/24 via 203.0.113.1"
  `);
});
