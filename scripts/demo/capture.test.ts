import { describe, expect, test } from "vitest";
import { planTopology } from "../../cli/lab/topology.ts";
import { aNode } from "../../test/support/builders.ts";
import { claimPaths, countByPair, formatPairs, readCapture, type SeenPacket } from "./capture.ts";

const nodes = [
  aNode("node-a", "172.30.1.11", "10.244.1.0/24"),
  aNode("node-b", "172.30.1.12", "10.244.2.0/24"),
  aNode("node-c", "172.30.2.13", "10.244.3.0/24"),
];
const topology = planTopology(nodes);

// As tcpdump 4.99 prints it in the demo.
const text = `tcpdump: data link type LINUX_SLL2
listening on any, link-type LINUX_SLL2 (Linux cooked v2), snapshot length 262144 bytes
11:47:35.225029 port1 P   IP 10.244.1.2 > 10.244.2.2: ICMP echo request, id 10179, seq 1, length 64
11:47:35.225035 port2 Out IP 10.244.1.2 > 10.244.2.2: ICMP echo request, id 10179, seq 1, length 64
11:47:35.225100 port1 In  IP 172.30.1.11.52841 > 172.30.2.13.4789: VXLAN, flags [I] (0x08), vni 1
IP 10.244.1.2.40112 > 10.244.3.3.5432: Flags [S], seq 1, win 64860, length 0
11:47:35.225101 link1 In  IP 172.30.1.11.52841 > 172.30.2.13.4789: VXLAN, flags [I] (0x08), vni 1
IP 10.244.1.2.40112 > 10.244.3.3.5432: Flags [S], seq 1, win 64860, length 0
11:47:35.225102 port3 Out IP 172.30.1.11.52841 > 172.30.2.13.4789: VXLAN, flags [I] (0x08), vni 1
IP 10.244.1.2.40112 > 10.244.3.3.5432: Flags [S], seq 1, win 64860, length 0

9 packets captured`;

test("readCapture() counts each packet once, where it enters the router", () => {
  expect(readCapture(text, nodes, topology)).toEqual([
    {
      isVxlan: false,
      from: "node-a",
      to: "node-b",
      source: "10.244.1.2",
      destination: "10.244.2.2",
    },
    {
      isVxlan: true,
      from: "node-a",
      to: "node-c",
      source: "10.244.1.2",
      destination: "10.244.3.3",
    },
  ]);
});

test("countByPair() has every ordered pair, and formatPairs() a row for each", () => {
  const pairs = countByPair(readCapture(text, nodes, topology), topology);
  expect(pairs).toHaveLength(6);
  expect(formatPairs(pairs)).toMatchInlineSnapshot(`
    "  FROM    TO      AS VXLAN  AS THEY ARE
      node-a  node-b  0         1
      node-a  node-c  1         0
      node-b  node-a  0         0
      node-b  node-c  0         0
      node-c  node-a  0         0
      node-c  node-b  0         0
    "
  `);
});

describe("claimPaths()", () => {
  const packet = (from: string, to: string, isVxlan: boolean): SeenPacket => ({
    isVxlan,
    from,
    to,
    source: "",
    destination: "",
  });
  const right = [
    packet("node-a", "node-b", false),
    packet("node-b", "node-a", false),
    ...["node-a", "node-b"].flatMap((node) => [
      packet(node, "node-c", true),
      packet("node-c", node, true),
    ]),
  ];
  const judge = (packets: readonly SeenPacket[]): boolean[] =>
    claimPaths(packets, topology).map(({ isTrue }) => isTrue);

  test("is content when each pair of nodes takes its path", () => {
    expect(judge(right)).toEqual([true, true]);
  });
  test("is not when routed packets go bare, VXLAN goes on one link, or a pair is silent", () => {
    expect(judge([...right, packet("node-c", "node-a", false)])).toEqual([false, true]);
    expect(judge([...right, packet("node-a", "node-b", true)])).toEqual([true, false]);
    expect(judge(right.slice(1))).toEqual([true, false]);
    expect(judge(right.slice(0, -1))).toEqual([false, true]);
    expect(judge([])).toEqual([false, false]);
  });
});
