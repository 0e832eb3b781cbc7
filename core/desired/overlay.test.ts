import { describe, expect, test } from "vitest";
import { aNode, cidr, ip } from "../../test/support/builders.ts";
import {
  nodeA,
  nodeB,
  nodeC,
  overlay,
  planFromNothing,
  underlayOfA,
} from "../../test/support/overlay.ts";
import { serviceAddressRoutes } from "./overlay.ts";

describe("desireOverlay()", () => {
  test("routes to a node on the same link directly, and to others through VXLAN", () => {
    const { node, mtu, paths, problems } = overlay();
    expect(planFromNothing(node)).toMatchInlineSnapshot(`
      "ip link add fl-vxlan address fa:b3:ff:64:56:f3 mtu 1450 type vxlan id 1 dstport 4789 local 172.30.1.11 dev if2 nolearning
      ip link set dev fl-vxlan addrgenmode none rp_filter 0 alias "fairlead:overlay"
      ip link set dev fl-vxlan up
      ip address add 10.244.1.0/32 dev fl-vxlan
      ip neighbor replace 10.244.3.0 lladdr ca:58:fd:4d:76:c9 dev fl-vxlan nud permanent
      bridge fdb replace ca:58:fd:4d:76:c9 dev fl-vxlan dst 172.30.2.13 self permanent
      ip route replace unreachable 10.244.1.0/24 dev lo proto 76 metric 2
      ip route replace 10.244.2.0/24 via 172.30.1.12 dev eth0 proto 76 metric 3
      ip route replace 10.244.3.0/24 via 10.244.3.0 dev fl-vxlan onlink src 10.244.1.0 proto 76 metric 4"
    `);
    expect([mtu, Object.fromEntries(paths), problems]).toEqual([
      1450,
      { "node-b": "direct", "node-c": "vxlan" },
      [],
    ]);
  });

  test("sends everything through VXLAN when told so", () => {
    expect(planFromNothing(overlay({ backend: "vxlan", port: 8472, vni: 7 }).node))
      .toMatchInlineSnapshot(`
      "ip link add fl-vxlan address ae:ea:c6:6c:42:3f mtu 1450 type vxlan id 7 dstport 8472 local 172.30.1.11 dev if2 nolearning
      ip link set dev fl-vxlan addrgenmode none rp_filter 0 alias "fairlead:overlay"
      ip link set dev fl-vxlan up
      ip address add 10.244.1.0/32 dev fl-vxlan
      ip neighbor replace 10.244.2.0 lladdr 92:fa:69:84:35:32 dev fl-vxlan nud permanent
      ip neighbor replace 10.244.3.0 lladdr 86:47:80:e4:0d:b0 dev fl-vxlan nud permanent
      bridge fdb replace 92:fa:69:84:35:32 dev fl-vxlan dst 172.30.1.12 self permanent
      bridge fdb replace 86:47:80:e4:0d:b0 dev fl-vxlan dst 172.30.2.13 self permanent
      ip route replace unreachable 10.244.1.0/24 dev lo proto 76 metric 2
      ip route replace 10.244.2.0/24 via 10.244.2.0 dev fl-vxlan onlink src 10.244.1.0 proto 76 metric 3
      ip route replace 10.244.3.0/24 via 10.244.3.0 dev fl-vxlan onlink src 10.244.1.0 proto 76 metric 4"
    `);
  });

  test("makes no tunnel for backend direct, and names whom it cannot reach", () => {
    const { node, mtu, paths, problems } = overlay({ backend: "direct" });
    expect(planFromNothing(node)).toMatchInlineSnapshot(`
      "ip route replace unreachable 10.244.1.0/24 dev lo proto 76 metric 2
      ip route replace 10.244.2.0/24 via 172.30.1.12 dev eth0 proto 76 metric 3"
    `);
    expect(mtu).toBe(1500);
    expect(Object.fromEntries(paths)).toEqual({ "node-b": "direct", "node-c": "none" });
    expect(problems).toEqual([
      "Cannot reach pods 10.244.3.0/24 of Node node-c: its address 172.30.2.13 is not on the link of eth0, as backend direct needs",
    ]);
  });

  test("carries both families over IPv4", () => {
    const dual = (node: typeof nodeA, n: number) => ({
      ...node,
      podCidrs: [...node.podCidrs, cidr(`fd00:10:244:${n}::/64`)],
    });
    const { node, paths } = overlay({ local: dual(nodeA, 1), peers: [dual(nodeB, 2)] });
    expect(planFromNothing(node)).toMatchInlineSnapshot(`
      "ip link add fl-vxlan address fa:b3:ff:64:56:f3 mtu 1450 type vxlan id 1 dstport 4789 local 172.30.1.11 dev if2 nolearning
      ip link set dev fl-vxlan addrgenmode none rp_filter 0 alias "fairlead:overlay"
      ip link set dev fl-vxlan up
      ip address add 10.244.1.0/32 dev fl-vxlan
      ip address add fd00:10:244:1::/128 dev fl-vxlan
      ip neighbor replace fd00:10:244:2:: lladdr aa:44:87:b1:4a:e6 dev fl-vxlan nud permanent
      bridge fdb replace aa:44:87:b1:4a:e6 dev fl-vxlan dst 172.30.1.12 self permanent
      ip route replace unreachable 10.244.1.0/24 dev lo proto 76 metric 2
      ip -6 route replace unreachable fd00:10:244:1::/64 dev lo proto 76 metric 2
      ip route replace 10.244.2.0/24 via 172.30.1.12 dev eth0 proto 76 metric 3
      ip -6 route replace fd00:10:244:2::/64 via fd00:10:244:2:: dev fl-vxlan onlink src fd00:10:244:1:: proto 76 metric 3"
    `);
    expect(paths.get("node-b")).toBe("vxlan");
  });

  test("carries both families over IPv6, 20 octets less", () => {
    const six = (name: string, n: number) =>
      aNode(name, `2001:db8::${n}`, `fd00:10:244:${n}::/64`, {
        podCidrs: [cidr(`10.244.${n}.0/24`), cidr(`fd00:10:244:${n}::/64`)],
      });
    const { node, mtu } = overlay({
      local: six("node-a", 1),
      peers: [six("node-b", 2)],
      underlay: {
        ...underlayOfA,
        addresses: [ip("2001:db8::1")],
        networks: [cidr("2001:db8::/64")],
      },
    });
    expect(mtu).toBe(1430);
    expect(planFromNothing(node)).toMatchInlineSnapshot(`
      "ip link add fl-vxlan address fa:b3:ff:64:56:f3 mtu 1430 type vxlan id 1 dstport 4789 local 2001:db8::1 dev if2 nolearning
      ip link set dev fl-vxlan addrgenmode none rp_filter 0 alias "fairlead:overlay"
      ip link set dev fl-vxlan up
      ip address add 10.244.1.0/32 dev fl-vxlan
      ip address add fd00:10:244:1::/128 dev fl-vxlan
      ip neighbor replace 10.244.2.0 lladdr aa:44:87:b1:4a:e6 dev fl-vxlan nud permanent
      bridge fdb replace aa:44:87:b1:4a:e6 dev fl-vxlan dst 2001:db8::2 self permanent
      ip route replace unreachable 10.244.1.0/24 dev lo proto 76 metric 2
      ip -6 route replace unreachable fd00:10:244:1::/64 dev lo proto 76 metric 2
      ip route replace 10.244.2.0/24 via 10.244.2.0 dev fl-vxlan onlink src 10.244.1.0 proto 76 metric 3
      ip -6 route replace fd00:10:244:2::/64 via 2001:db8::2 dev eth0 proto 76 metric 3"
    `);
  });

  test.each([
    ["vxlan", "auto", 1450, []],
    ["vxlan", 1400, 1400, []],
    ["direct", "auto", 1500, []],
    [
      "vxlan",
      1500,
      1450,
      [
        "Cannot use network.mtu 1500: eth0 carries pods' packets of up to 1450 octets, which is used",
      ],
    ],
  ] as const)(
    "with backend %s and mtu %s gives pods %i octets",
    (backend, mtu, octets, problems) => {
      const desired = overlay({ backend, mtu, peers: [nodeB] });
      expect(desired.mtu).toBe(octets);
      expect(desired.problems).toEqual(problems);
    },
  );

  test("names a peer that cannot be reached, and reaches the others", () => {
    const { node, paths, problems } = overlay({
      backend: "vxlan",
      peers: [
        { ...nodeB, addresses: [] },
        { ...nodeC, podCidrs: [] },
        aNode("node-d", "172.30.1.14", "fd00:10:244:4::/64"),
        aNode("node-e", "172.30.1.15", "10.244.5.0/24"),
      ],
    });
    expect(Object.fromEntries(paths)).toEqual({
      "node-b": "none",
      "node-c": "none",
      "node-d": "none",
      "node-e": "vxlan",
    });
    expect(problems).toEqual([
      "Cannot reach pods 10.244.2.0/24 of Node node-b: it has no IPv4 address, as VXLAN has here",
      "Cannot reach pods fd00:10:244:4::/64 of Node node-d: this node has no IPv6 pod CIDR",
    ]);
    expect(node.fdb).toHaveLength(1);
  });

  test("gives every route of a large cluster a metric of its own", () => {
    const peers = Array.from({ length: 250 }, (_, i) =>
      aNode(`n${i}`, `172.30.9.${i + 1}`, `10.244.${i + 2}.0/24`),
    );
    const { routes } = overlay({ peers }).node;
    expect(new Set(routes.map(({ metric }) => metric)).size).toBe(251);
  });

  test("carries the first address of every block, and routes to every block of a peer", () => {
    const local = { ...nodeA, podCidrs: [cidr("10.244.1.0/24"), cidr("10.244.11.0/24")] };
    const peer = { ...nodeC, podCidrs: [cidr("10.244.3.0/24"), cidr("10.244.13.0/25")] };
    expect(
      planFromNothing(overlay({ local, peers: [peer] }).node)
        .split("\n")
        .slice(3),
    ).toMatchInlineSnapshot(`
      [
        "ip address add 10.244.1.0/32 dev fl-vxlan",
        "ip address add 10.244.11.0/32 dev fl-vxlan",
        "ip neighbor replace 10.244.3.0 lladdr ca:58:fd:4d:76:c9 dev fl-vxlan nud permanent",
        "ip neighbor replace 10.244.13.0 lladdr ca:58:fd:4d:76:c9 dev fl-vxlan nud permanent",
        "bridge fdb replace ca:58:fd:4d:76:c9 dev fl-vxlan dst 172.30.2.13 self permanent",
        "ip route replace unreachable 10.244.1.0/24 dev lo proto 76 metric 2",
        "ip route replace unreachable 10.244.11.0/24 dev lo proto 76 metric 12",
        "ip route replace 10.244.3.0/24 via 10.244.3.0 dev fl-vxlan onlink src 10.244.1.0 proto 76 metric 4",
        "ip route replace 10.244.13.0/25 via 10.244.13.0 dev fl-vxlan onlink src 10.244.1.0 proto 76 metric 27",
      ]
    `);
  });

  test("routes pods whose block was taken from their node one by one", () => {
    const peers = [
      { ...nodeB, strays: [ip("10.244.12.7")] },
      { ...nodeC, strays: [ip("10.244.13.7")] },
    ];
    expect(planFromNothing(overlay({ peers }).node).split("\n").slice(4)).toMatchInlineSnapshot(`
      [
        "ip neighbor replace 10.244.3.0 lladdr ca:58:fd:4d:76:c9 dev fl-vxlan nud permanent",
        "ip neighbor replace 10.244.13.7 lladdr ca:58:fd:4d:76:c9 dev fl-vxlan nud permanent",
        "bridge fdb replace ca:58:fd:4d:76:c9 dev fl-vxlan dst 172.30.2.13 self permanent",
        "ip route replace unreachable 10.244.1.0/24 dev lo proto 76 metric 2",
        "ip route replace 10.244.2.0/24 via 172.30.1.12 dev eth0 proto 76 metric 3",
        "ip route replace 10.244.12.7/32 via 172.30.1.12 dev eth0 proto 76 metric 3080",
        "ip route replace 10.244.3.0/24 via 10.244.3.0 dev fl-vxlan onlink src 10.244.1.0 proto 76 metric 4",
        "ip route replace 10.244.13.7/32 via 10.244.13.7 dev fl-vxlan onlink src 10.244.1.0 proto 76 metric 3336",
      ]
    `);
  });

  test("keeps the ways of pods in a family of which the node has no block left", () => {
    const dual = { ...nodeC, podCidrs: [cidr("10.244.3.0/24"), cidr("fd00:10:244:3::/64")] };
    const local = { ...nodeA, strays: [ip("fd00:10:244:1::7")] };
    const { node, problems } = overlay({ local, peers: [dual] });
    expect(problems).toEqual([]);
    expect(planFromNothing(node)).toContain("fd00:10:244:3::/64 via fd00:10:244:3:: dev fl-vxlan");
  });

  test("does not depend on the order of the peers", () => {
    const sorted = (peers: readonly (typeof nodeB)[]) =>
      planFromNothing(overlay({ peers }).node).split("\n").sort();
    expect(sorted([nodeC, nodeB])).toEqual(sorted([nodeB, nodeC]));
  });
});

test("serviceAddressRoutes() makes the node answer on an address that no interface has", () => {
  const routes = serviceAddressRoutes([ip("10.96.0.10"), ip("fd00:10:96::a")]);
  expect(planFromNothing({ addresses: [], neighbors: [], fdb: [], routes })).toMatchInlineSnapshot(`
    "ip route replace local 10.96.0.10/32 dev lo proto 76 scope host table local
    ip -6 route replace local fd00:10:96::a/128 dev lo proto 76 scope host table local"
  `);
});
