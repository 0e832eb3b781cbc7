import { describe, expect, test } from "vitest";
import { ip } from "../../test/support/builders.ts";
import { formatNftTable, normalMapElements } from "../nft.ts";
import type { PortMapping, TransportProtocol } from "../port-mapping.ts";
import {
  type HostPortHolder,
  hostPortElements,
  hostPortTable,
  sharedHostPort,
  withHostPorts,
} from "./host-ports.ts";

const map = (
  protocol: TransportProtocol,
  hostPort: number,
  containerPort: number,
  hostIp?: string,
): PortMapping => ({
  protocol,
  hostPort,
  containerPort,
  ...(hostIp !== undefined && { hostIp: ip(hostIp) }),
});

const pod4 = ip("10.0.0.2");
const pod6 = ip("2001:db8::2");

/** One of each kind: both protocols, one address and all, of either family. */
const eight: readonly PortMapping[] = [
  map("tcp", 8080, 80),
  map("tcp", 8081, 80),
  map("udp", 8080, 81),
  map("udp", 8082, 82),
  map("tcp", 8083, 83, "192.168.0.2"),
  map("tcp", 8084, 84, "0.0.0.0"),
  map("tcp", 8085, 85, "2001:db8:a::1"),
  map("tcp", 8086, 86, "::"),
];

const elementsOf = (holder: HostPortHolder) =>
  Object.fromEntries(
    hostPortElements(holder).map(({ name, elements }) => [name, normalMapElements(elements)]),
  );

const ofIpv4 = {
  hairpin4: ["10.0.0.2 . 10.0.0.2"],
  hostports4: [
    "tcp . 8080 : 10.0.0.2 . 80",
    "tcp . 8081 : 10.0.0.2 . 80",
    "tcp . 8084 : 10.0.0.2 . 84",
    "udp . 8080 : 10.0.0.2 . 81",
    "udp . 8082 : 10.0.0.2 . 82",
  ],
  "hostports4-at": ["192.168.0.2 . tcp . 8083 : 10.0.0.2 . 83"],
};
const ofIpv6 = {
  hairpin6: ["2001:db8::2 . 2001:db8::2"],
  hostports6: [
    "tcp . 8080 : 2001:db8::2 . 80",
    "tcp . 8081 : 2001:db8::2 . 80",
    "tcp . 8086 : 2001:db8::2 . 86",
    "udp . 8080 : 2001:db8::2 . 81",
    "udp . 8082 : 2001:db8::2 . 82",
  ],
  "hostports6-at": ["2001:db8:a::1 . tcp . 8085 : 2001:db8::2 . 85"],
};

describe("hostPortElements()", () => {
  test.each([
    ["IPv4", [pod4], ofIpv4],
    ["IPv6", [pod6], ofIpv6],
    ["both families", [pod4, pod6], { ...ofIpv4, ...ofIpv6 }],
    ["several addresses, of which the first of a family counts", [pod4, ip("10.0.0.3")], ofIpv4],
    ["no address", [], {}],
  ] as const)("maps the families that a pod of %s has", (_what, addresses, expected) => {
    expect(elementsOf({ addresses, portMappings: eight })).toEqual(expected);
  });

  test("gives one that is said for all addresses, and for all of a family, once", () => {
    const portMappings = [map("tcp", 80, 80), map("tcp", 80, 80, "0.0.0.0")];
    expect(elementsOf({ addresses: [pod4], portMappings })["hostports4"]).toHaveLength(1);
  });

  test("gives nothing where no mapping is of the pod's family", () => {
    expect(elementsOf({ addresses: [pod4], portMappings: [map("tcp", 80, 80, "::")] })).toEqual({});
  });
});

describe("sharedHostPort()", () => {
  const holder = (address: string, ...portMappings: readonly PortMapping[]): HostPortHolder => ({
    addresses: [ip(address)],
    portMappings,
  });
  test.each([
    ["the same port", [map("tcp", 80, 1)], [map("tcp", 80, 1)], "80/tcp"],
    ["another protocol", [map("tcp", 80, 1)], [map("udp", 80, 1)], undefined],
    ["another port", [map("tcp", 80, 1)], [map("tcp", 81, 1)], undefined],
    ["all addresses in two ways", [map("tcp", 80, 1)], [map("tcp", 80, 1, "0.0.0.0")], "80/tcp"],
    [
      "the same address",
      [map("udp", 53, 1, "192.0.2.1")],
      [map("tcp", 1, 1), map("udp", 53, 2, "192.0.2.1")],
      "53/udp at 192.0.2.1",
    ],
    ["one address and all", [map("tcp", 80, 1)], [map("tcp", 80, 1, "192.0.2.1")], undefined],
    ["the other family", [map("tcp", 80, 1)], [map("tcp", 80, 1, "::")], undefined],
  ] as const)("tells of %s", (_what, one, other, expected) => {
    expect(sharedHostPort(holder("10.0.0.2", ...one), holder("10.0.0.3", ...other))).toBe(expected);
  });

  test("tells pods of different families apart", () => {
    const [one, other] = [
      holder("10.0.0.2", map("tcp", 80, 1)),
      holder("fd00::2", map("tcp", 80, 1)),
    ];
    expect(sharedHostPort(one, other)).toBeUndefined();
  });
});

test("withHostPorts() gives a port that two claim to the first", () => {
  const table = withHostPorts(hostPortTable([]), [
    { addresses: [pod4], portMappings: [map("tcp", 80, 1)] },
    { addresses: [ip("10.0.0.3")], portMappings: [map("tcp", 80, 1), map("tcp", 81, 1)] },
  ]);
  const { elements } = table.maps.find(({ name }) => name === "hostports4")!;
  expect(normalMapElements(elements)).toEqual([
    "tcp . 80 : 10.0.0.2 . 1",
    "tcp . 81 : 10.0.0.3 . 1",
  ]);
});

test("hostPortTable() is all that hostPorts need, in a few rules", () => {
  const table = withHostPorts(hostPortTable([ip("10.96.0.10")]), [
    { addresses: [pod4, pod6], portMappings: eight },
  ]);
  expect(formatNftTable(table)).toMatchInlineSnapshot(`
    "table inet fairlead {
    	set not-node4 {
    		type ipv4_addr
    		flags interval
    		elements = { 10.96.0.10 }
    	}

    	set not-node6 {
    		type ipv6_addr
    		flags interval
    	}

    	map hostports4-at {
    		type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service
    		elements = { 192.168.0.2 . tcp . 8083 : 10.0.0.2 . 83 }
    	}

    	map hostports4 {
    		type inet_proto . inet_service : ipv4_addr . inet_service
    		elements = { tcp . 8080 : 10.0.0.2 . 80, tcp . 8081 : 10.0.0.2 . 80, tcp . 8084 : 10.0.0.2 . 84, udp . 8080 : 10.0.0.2 . 81, udp . 8082 : 10.0.0.2 . 82 }
    	}

    	set hairpin4 {
    		type ipv4_addr . ipv4_addr
    		elements = { 10.0.0.2 . 10.0.0.2 }
    	}

    	map hostports6-at {
    		type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service
    		elements = { 2001:db8:a::1 . tcp . 8085 : 2001:db8::2 . 85 }
    	}

    	map hostports6 {
    		type inet_proto . inet_service : ipv6_addr . inet_service
    		elements = { tcp . 8080 : 2001:db8::2 . 80, tcp . 8081 : 2001:db8::2 . 80, tcp . 8086 : 2001:db8::2 . 86, udp . 8080 : 2001:db8::2 . 81, udp . 8082 : 2001:db8::2 . 82 }
    	}

    	set hairpin6 {
    		type ipv6_addr . ipv6_addr
    		elements = { 2001:db8::2 . 2001:db8::2 }
    	}

    	chain hostports {
    		ip daddr @not-node4 return comment "an address of the cluster, not of the node"
    		dnat ip to ip daddr . meta l4proto . th dport map @hostports4-at
    		meta nfproto ipv4 dnat ip to meta l4proto . th dport map @hostports4
    		ip6 daddr @not-node6 return comment "an address of the cluster, not of the node"
    		dnat ip6 to ip6 daddr . meta l4proto . th dport map @hostports6-at
    		meta nfproto ipv6 dnat ip6 to meta l4proto . th dport map @hostports6
    	}

    	chain hostports-in {
    		type nat hook prerouting priority dstnat; policy accept;
    		ip daddr 127.0.0.0/8 iifname "fl*" drop comment "no pod reaches the node's loopback addresses"
    		fib daddr type local jump hostports comment "to the node's addresses"
    	}

    	chain hostports-out {
    		type nat hook output priority -100; policy accept;
    		fib daddr type local jump hostports comment "to the node's addresses"
    	}

    	chain hostports-back {
    		type nat hook postrouting priority srcnat; policy accept;
    		ip saddr . ip daddr @hairpin4 masquerade comment "a pod to itself through the node"
    		oifname "fl*" ip saddr 127.0.0.0/8 masquerade comment "the node to a pod from its loopback address"
    		ip6 saddr . ip6 daddr @hairpin6 masquerade comment "a pod to itself through the node"
    		oifname "fl*" ip6 saddr ::1 masquerade comment "the node to a pod from its loopback address"
    	}

    	chain hostports-guard {
    		type filter hook input priority filter; policy accept;
    		ip daddr 127.0.0.0/8 iifname "fl*" ct status snat return comment "answers to what the node sent from its loopback addresses"
    		ip daddr 127.0.0.0/8 iifname "fl*" drop comment "no pod reaches the node's loopback addresses"
    	}
    }
    "
  `);
});
