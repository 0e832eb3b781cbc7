import { describe, expect, test } from "vitest";
import { formatChange } from "../core/format-change.ts";
import { attachmentMetric } from "../core/names.ts";
import type { Change } from "../core/network.ts";
import { cidr, ip } from "../test/support/builders.ts";
import { planAdd, planDel } from "./plan.ts";
import { type Wiring, podRoutes } from "./wiring.ts";

const key = { network: "fairlead", containerId: "c1", ifName: "eth0" };
const wiring: Wiring = {
  addresses: [ip("10.244.1.7")],
  routes: [],
  nodeAddresses: [ip("192.0.2.1"), ip("2001:db8::1")],
  mtu: 1450,
  hostIndex: 1_000_001,
  podIndex: 1_000_002,
  alias: "fairlead:shop/cart-0",
};

const text = (changes: readonly Change[]): string => changes.map(formatChange).join("\n");

describe("planAdd()", () => {
  test("gives an IPv4 pod its address, one next hop and permanent neighbors on both sides", () => {
    const { host, sandbox } = planAdd(key, wiring, 7);
    expect(text(host)).toMatchInlineSnapshot(`
      "ip link add fld20df175a181 index 1000001 address e2:69:7c:77:ce:48 mtu 1450 up alias "fairlead:shop/cart-0" type veth peer name eth0 index 1000002 address f6:fe:1b:ee:26:62 mtu 1450 netns sandbox
      ip link set dev fld20df175a181 addrgenmode none rp_filter 1
      ip route add 10.244.1.7/32 dev fld20df175a181 src 192.0.2.1 proto 76 scope link
      ip neighbor replace 10.244.1.7 lladdr f6:fe:1b:ee:26:62 dev fld20df175a181 nud permanent"
    `);
    expect(text(sandbox)).toMatchInlineSnapshot(`
      "ip link set dev eth0 addrgenmode none
      ip link set dev eth0 up
      ip address add 10.244.1.7/32 dev eth0
      ip route add 0.0.0.0/0 via 169.254.1.1 dev eth0 onlink proto 76
      ip neighbor replace 169.254.1.1 lladdr e2:69:7c:77:ce:48 dev eth0 nud permanent"
    `);
  });

  test("gives a dual-stack pod both, each by its own next hop and preferred source", () => {
    const { alias: _, ...rest } = wiring;
    const { host, sandbox } = planAdd(
      key,
      { ...rest, addresses: [ip("10.244.1.7"), ip("fd00:10:244:1::7")] },
      7,
    );
    expect(text(host)).toMatchInlineSnapshot(`
      "ip link add fld20df175a181 index 1000001 address e2:69:7c:77:ce:48 mtu 1450 up type veth peer name eth0 index 1000002 address f6:fe:1b:ee:26:62 mtu 1450 netns sandbox
      ip link set dev fld20df175a181 addrgenmode none rp_filter 1
      ip route add 10.244.1.7/32 dev fld20df175a181 src 192.0.2.1 proto 76 scope link
      ip -6 route add fd00:10:244:1::7/128 dev fld20df175a181 src 2001:db8::1 proto 76 scope link
      ip neighbor replace 10.244.1.7 lladdr f6:fe:1b:ee:26:62 dev fld20df175a181 nud permanent
      ip neighbor replace fd00:10:244:1::7 lladdr f6:fe:1b:ee:26:62 dev fld20df175a181 nud permanent"
    `);
    expect(text(sandbox)).toMatchInlineSnapshot(`
      "ip link set dev eth0 addrgenmode none
      ip link set dev eth0 up
      ip address add 10.244.1.7/32 dev eth0
      ip address add fd00:10:244:1::7/128 dev eth0
      ip -6 route add local fd00:10:244:1::7/128 dev eth0 proto 76 scope host table local
      ip route add 0.0.0.0/0 via 169.254.1.1 dev eth0 onlink proto 76
      ip -6 route add ::/0 via fe80::1 dev eth0 onlink proto 76
      ip neighbor replace 169.254.1.1 lladdr e2:69:7c:77:ce:48 dev eth0 nud permanent
      ip neighbor replace fe80::1 lladdr e2:69:7c:77:ce:48 dev eth0 nud permanent"
    `);
  });

  test("leaves the source open where the node has no address of the family", () => {
    const { host } = planAdd(
      key,
      { ...wiring, addresses: [ip("fd00::7")], nodeAddresses: [ip("192.0.2.1")] },
      7,
    );
    expect(text(host)).toContain("ip -6 route add fd00::7/128 dev fld20df175a181 proto 76");
  });

  test("takes the routes that IPAM asks for in place of the default, in the families there are", () => {
    const routes = [
      { destination: cidr("10.0.0.0/8"), metric: 50, table: 100 },
      { destination: cidr("fd00::/8") },
    ];
    const { sandbox } = planAdd(key, { ...wiring, routes }, 7);
    expect(text(sandbox.filter(({ kind }) => kind === "add-route"))).toMatchInlineSnapshot(
      `"ip route add 10.0.0.0/8 via 169.254.1.1 dev eth0 onlink proto 76 metric 50 table 100"`,
    );
    expect(podRoutes(key, { ...wiring, addresses: [ip("fd00::7")], routes })).toEqual([
      { destination: cidr("fd00::/8") },
    ]);
  });

  test("lets a further interface's default route stand behind the first one's", () => {
    const second = { ...key, ifName: "net1" };
    const { sandbox } = planAdd(second, wiring, 7);
    expect(text(sandbox)).toContain(
      `ip route add 0.0.0.0/0 via 169.254.1.1 dev net1 onlink proto 76 metric ${attachmentMetric(second)}`,
    );
  });
});

test("planDel() takes the interface down, and all that leads over it", () =>
  expect(text(planDel(key))).toMatchInlineSnapshot(
    `"ip link set dev fld20df175a181 group 1718419456 down"`,
  ));
