import { describe, expect, test } from "vitest";
import { cidr, ifName, ip, mac } from "../test/support/builders.ts";
import { formatChange } from "./format-change.ts";
import { type Change, type Route, localTable, mainTable, normalRoute } from "./network.ts";

const route: Route = {
  destination: cidr("10.244.2.0/24"),
  device: ifName("fl-vxlan"),
  gateway: ip("10.244.2.0"),
  onlink: true,
  source: ip("10.244.1.0"),
  metric: 3,
  table: mainTable,
  type: "unicast",
  scope: "global",
  protocol: 76,
};

const changes: readonly Change[] = [
  {
    kind: "add-veth",
    host: { name: ifName("fl0123456789ab"), index: 1001, mac: mac("02:00:00:00:00:01") },
    pod: { name: ifName("eth0"), index: 1002, mac: mac("02:00:00:00:00:02") },
    sandboxFd: 33,
    mtu: 1450,
    alias: "fairlead:default/web",
    isHostUp: true,
  },
  {
    kind: "add-vxlan",
    name: ifName("fl-vxlan"),
    mac: mac("02:00:00:00:00:03"),
    mtu: 1450,
    vxlan: { vni: 1, port: 4789, local: ip("192.0.2.1"), underlayIndex: 2, learning: false },
  },
  {
    kind: "set-link",
    device: ifName("eth0"),
    settings: {
      isUp: true,
      linkLocal: false,
      rpFilter: 2,
      routeLocalnet: true,
      mtu: 1400,
      group: 7,
    },
  },
  {
    kind: "set-link",
    device: ifName("fl-vxlan"),
    settings: {
      mtu: 1400,
      options: [
        { of: "feature", word: "rx-gro", value: 1, usual: 1, isFixed: false },
        { of: "feature", word: "rx-gro-list", value: 0, usual: 0, isFixed: false },
      ],
    },
  },
  { kind: "remove-link", device: ifName("eth0") },
  {
    kind: "add-address",
    address: { device: ifName("eth0"), address: ip("fd00::7"), prefixLength: 128 },
  },
  {
    kind: "remove-address",
    address: { device: ifName("eth0"), address: ip("10.244.1.7"), prefixLength: 32 },
  },
  { kind: "replace-route", route },
  {
    kind: "add-route",
    route: {
      destination: cidr("fd00::7/128"),
      device: ifName("eth0"),
      metric: 0,
      table: 100,
      type: "unicast",
      scope: "link",
      protocol: 76,
    },
  },
  {
    kind: "remove-route",
    route: {
      destination: cidr("10.96.0.10/32"),
      device: ifName("lo"),
      metric: 0,
      table: localTable,
      type: "local",
      scope: "host",
      protocol: 76,
    },
  },
  { kind: "add-route", route: { ...route, gateway: ip("fe80::1") } },
  { kind: "replace-route", route: { ...route, isAltered: true } },
  { kind: "remove-route", route: { ...route, typeOfService: 0x10, from: cidr("10.9.0.0/16") } },
  {
    kind: "replace-neighbor",
    neighbor: {
      device: ifName("eth0"),
      address: ip("169.254.1.1"),
      mac: mac("02:00:00:00:00:01"),
      isPermanent: true,
    },
  },
  {
    kind: "remove-fdb",
    entry: {
      device: ifName("fl-vxlan"),
      mac: mac("02:00:00:00:00:04"),
      destination: ip("192.0.2.2"),
      isPermanent: true,
    },
  },
  {
    kind: "replace-fdb",
    entry: {
      device: ifName("fl-vxlan"),
      mac: mac("02:00:00:00:00:04"),
      destination: ip("192.0.2.2"),
      isPermanent: false,
      port: 9999,
      vni: 77,
      underlayIndex: 2,
    },
  },
  {
    kind: "replace-shaping",
    shaping: { device: ifName("eth0"), rate: 125_000, burst: 2_500, limit: 5_625 },
  },
];

test("formatChange() gives the line that iproute2 would take", () =>
  expect(changes.map(formatChange).join("\n")).toMatchInlineSnapshot(`
    "ip link add fl0123456789ab index 1001 address 02:00:00:00:00:01 mtu 1450 up alias "fairlead:default/web" type veth peer name eth0 index 1002 address 02:00:00:00:00:02 mtu 1450 netns sandbox
    ip link add fl-vxlan address 02:00:00:00:00:03 mtu 1450 type vxlan id 1 dstport 4789 local 192.0.2.1 dev if2 nolearning
    ip link set dev eth0 addrgenmode none rp_filter 2 route_localnet 1 mtu 1400 group 7 up
    ip link set dev fl-vxlan mtu 1400; ethtool -K fl-vxlan rx-gro on rx-gro-list off
    ip link del dev eth0
    ip address add fd00::7/128 dev eth0
    ip address del 10.244.1.7/32 dev eth0
    ip route replace 10.244.2.0/24 via 10.244.2.0 dev fl-vxlan onlink src 10.244.1.0 proto 76 metric 3
    ip -6 route add fd00::7/128 dev eth0 proto 76 scope link table 100
    ip route del local 10.96.0.10/32 dev lo proto 76 scope host table local
    ip route add 10.244.2.0/24 via inet6 fe80::1 dev fl-vxlan onlink src 10.244.1.0 proto 76 metric 3
    ip route replace 10.244.2.0/24 via 10.244.2.0 dev fl-vxlan onlink src 10.244.1.0 proto 76 metric 3 and more
    ip route del 10.244.2.0/24 tos 0x10 from 10.9.0.0/16 via 10.244.2.0 dev fl-vxlan onlink src 10.244.1.0 proto 76 metric 3
    ip neighbor replace 169.254.1.1 lladdr 02:00:00:00:00:01 dev eth0 nud permanent
    bridge fdb del 02:00:00:00:00:04 dev fl-vxlan dst 192.0.2.2 self
    bridge fdb replace 02:00:00:00:00:04 dev fl-vxlan dst 192.0.2.2 port 9999 vni 77 via if2 self dynamic
    tc qdisc replace dev eth0 root tbf rate 125000bps burst 2500b limit 5625b"
  `));

describe("normalRoute()", () => {
  test("leaves an IPv4 route as it is", () => expect(normalRoute(route)).toEqual(route));

  test("drops what the kernel does not keep of an IPv6 route", () => {
    const asked: Route = {
      destination: cidr("fd00:2::/64"),
      device: ifName("eth0"),
      gateway: ip("fe80::1"),
      onlink: false,
      metric: 1024,
      table: mainTable,
      type: "unicast",
      scope: "link",
      protocol: 76,
    };
    const { onlink: _, ...rest } = asked;
    expect(normalRoute(asked)).toEqual({ ...rest, metric: 0, scope: "global" });
  });

  test("is its own normal form", () => {
    const once = normalRoute({ ...route, type: "blackhole" });
    expect(normalRoute(once)).toEqual(once);
    expect(once.device).toBe("lo");
  });
});
