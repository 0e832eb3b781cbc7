import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { aNode, cidr, ifName, ip, mac } from "../test/support/builders.ts";
import { nodeA, nodeB, nodeC, overlay, underlayOfA } from "../test/support/overlay.ts";
import type { DesiredNode, ObservedNode } from "./desired/node-state.ts";
import { diffByKey, diffKeyed, diffNode, keyedNode } from "./diff.ts";
import { formatChange } from "./format-change.ts";
import type { Link, Route } from "./network.ts";

const desired = overlay().node;

/** The node as it is once `node` was applied. */
const observed = (node: DesiredNode, more: Partial<Link> = {}): ObservedNode => {
  const { vxlan: device, ...rest } = node;
  if (device === undefined) return rest;
  const { name, mac: address, mtu, alias, vxlan } = device;
  const link: Link = {
    index: 9,
    name,
    type: "vxlan",
    mac: address,
    mtu,
    isUp: true,
    alias,
    group: 0,
    vxlan,
    ...more,
  };
  return { link, ...rest };
};
const altered = (of: "link" | "vxlan" | "feature", word: string, value: number, usual: number) =>
  ({ of, word, value, usual, isFixed: false }) as const;
const plan = (to: DesiredNode, from: ObservedNode, mayRemove = true): string[] =>
  diffNode(to, from, { mayRemove }).map(formatChange);

describe("diffByKey()", () => {
  const item = (key: string, value: number) => ({ key, value });
  type Item = ReturnType<typeof item>;
  const diff = (a: Item[], b: Item[]) =>
    diffByKey(new Map(a.map((one) => [one.key, one])), b, {
      keyOf: ({ key }) => key,
      isSame: (x, y) => x.value === y.value,
    });

  test("puts what is missing or other, removes what is not desired", () => {
    expect(
      diff([item("a", 1), item("b", 2), item("c", 3)], [item("b", 2), item("c", 4), item("d", 5)]),
    ).toEqual({
      put: [item("a", 1), item("c", 3)],
      remove: [item("d", 5)],
    });
  });

  test("of several under one key keeps the equal one and removes the others", () => {
    const found = [item("a", 2), item("a", 1), item("a", 1)];
    expect(diff([item("a", 1)], found)).toEqual({
      put: [],
      remove: [item("a", 2), item("a", 1)],
      repeated: new Set(["a"]),
    });
  });

  test("of several under one key without an equal one only puts", () => {
    expect(diff([item("a", 1)], [item("a", 2), item("a", 3)])).toEqual({
      put: [item("a", 1)],
      remove: [],
      repeated: new Set(["a"]),
    });
  });

  test("finds nothing between equals, whatever they are", () => {
    const items = fc.uniqueArray(fc.record({ key: fc.string(), value: fc.nat(3) }), {
      selector: ({ key }) => key,
    });
    fc.assert(
      fc.property(items, (all) => {
        expect(diff(all, [...all].reverse())).toEqual({ put: [], remove: [] });
        expect(diff(all, [])).toEqual({ put: all, remove: [] });
        expect(diff([], all)).toEqual({ put: [], remove: all });
      }),
    );
  });
});

describe("diffNode()", () => {
  test("of a node as desired is empty", () => expect(plan(desired, observed(desired))).toEqual([]));

  test("removes a node in the reverse order of adding it", () => {
    expect(plan(overlay({ peers: [nodeB] }).node, observed(desired))).toEqual([
      "ip route del 10.244.3.0/24 via 10.244.3.0 dev fl-vxlan onlink src 10.244.1.0 proto 76 metric 4",
      "bridge fdb del ca:58:fd:4d:76:c9 dev fl-vxlan dst 172.30.2.13 self",
      "ip neighbor del 10.244.3.0 lladdr ca:58:fd:4d:76:c9 dev fl-vxlan",
    ]);
  });

  test("removes nothing before the source is in sync", () => {
    const more = overlay({ peers: [aNode("node-d", "172.30.2.14", "10.244.4.0/24")] }).node;
    const all = plan(more, observed(desired), false);
    expect(all.filter((line) => line.includes(" del "))).toEqual([]);
    expect(all).toHaveLength(3);
  });

  test("moves a node to another underlay address without a gap: the new entry, then the old one", () => {
    const moved = overlay({ peers: [nodeB, { ...nodeC, addresses: [ip("172.30.2.14")] }] }).node;
    expect(plan(moved, observed(desired))).toEqual([
      "bridge fdb replace ca:58:fd:4d:76:c9 dev fl-vxlan dst 172.30.2.14 self permanent",
      "bridge fdb del ca:58:fd:4d:76:c9 dev fl-vxlan dst 172.30.2.13 self",
    ]);
  });

  test.each<[string, Partial<Link>, string]>([
    ["MTU", { mtu: 1500 }, "mtu 1450"],
    ["MAC", { mac: mac("02:00:00:00:00:01") }, "address fa:b3:ff:64:56:f3"],
    ["alias", { alias: "x" }, 'alias "fairlead:overlay"'],
    ["state", { isUp: false }, "up"],
    ["group", { group: 7 }, "group 0"],
    [
      "source",
      { vxlan: { ...desired.vxlan!.vxlan, local: ip("172.30.1.99") } },
      "type vxlan id 1 dstport 4789 local 172.30.1.11 dev if2 nolearning",
    ],
    [
      "underlay",
      { vxlan: { ...desired.vxlan!.vxlan, underlayIndex: 77 } },
      "type vxlan id 1 dstport 4789 local 172.30.1.11 dev if2 nolearning",
    ],
    [
      "learning",
      { vxlan: { ...desired.vxlan!.vxlan, learning: true } },
      "type vxlan id 1 dstport 4789 local 172.30.1.11 dev if2 nolearning",
    ],
    [
      "options",
      { altered: [altered("link", "arp", 0, 1), altered("vxlan", "ttl", 5, 0)] },
      "arp on type vxlan ttl 0",
    ],
  ])("puts the device's %s right in place", (_, wrong, setting) => {
    expect(plan(desired, observed(desired, wrong))).toEqual([
      `ip link set dev fl-vxlan ${setting}`,
    ]);
  });

  test("has the tunnel's checksums made before it where they are wanted so", () => {
    const without = overlay({ checksumOffload: false }).node;
    const off = altered("feature", "tx-checksum-ip-generic", 0, 1);
    const arp = altered("link", "arp", 0, 1);
    const setOff = "ethtool -K fl-vxlan tx-checksum-ip-generic off";
    expect(plan(without, observed(desired))).toEqual([setOff]);
    expect(plan(without, observed(desired, { altered: [off] }))).toEqual([]);
    expect(plan(without, observed(desired, { altered: [off, arp] }))).toEqual([
      "ip link set dev fl-vxlan arp on",
    ]);
    expect(plan(desired, observed(desired, { altered: [off] }))).toEqual([
      "ethtool -K fl-vxlan tx-checksum-ip-generic on",
    ]);
    const { link: _, ...nothing } = observed(desired);
    const made = plan(without, nothing);
    expect(made[1]).toContain(setOff);
  });

  test.each<[string, Partial<Link>]>([
    ["VNI", { vxlan: { ...desired.vxlan!.vxlan, vni: 9 } }],
    ["port", { vxlan: { ...desired.vxlan!.vxlan, port: 9999 } }],
    ["source's family", { vxlan: { ...desired.vxlan!.vxlan, local: ip("2001:db8::1") } }],
    ["proxying", { altered: [{ ...altered("vxlan", "proxy", 1, 0), isFixed: true }] }],
  ])("makes the device and all on it again when its %s is wrong", (_, wrong) => {
    const all = plan(desired, observed(desired, wrong));
    expect(all[0]).toBe("ip link del dev fl-vxlan");
    expect(all[1]).toContain("ip link add fl-vxlan");
    expect(
      all.filter((line) => line.includes("replace") && line.includes("fl-vxlan")),
    ).toHaveLength(3);
  });

  test.each<[string, Partial<Link>]>([
    ["of another type", { type: "dummy" }],
    ["with neither our alias nor our MAC", { alias: "", mac: mac("02:00:00:00:00:01") }],
  ])("leaves a device %s alone, and does the rest", (_, foreign) => {
    const from: ObservedNode = { ...observed(desired, foreign), fdb: [], routes: [] };
    expect(plan(desired, from)).toEqual([
      "ip route replace unreachable 10.244.1.0/24 dev lo proto 76 metric 2",
      "ip route replace 10.244.2.0/24 via 172.30.1.12 dev eth0 proto 76 metric 3",
    ]);
  });

  test("knows the device by its index, whatever else is altered on it", () => {
    const foreign = { alias: "", mac: mac("02:00:00:00:00:01") };
    const from = observed(desired, foreign);
    const known = { ...keyedNode(desired), ownIndex: from.link!.index };
    expect(diffKeyed(known, from, { mayRemove: true }).map(formatChange)).toEqual([
      `ip link set dev fl-vxlan address ${desired.vxlan!.mac} alias "fairlead:overlay"`,
    ]);
    const other = observed(desired, { ...foreign, index: from.link!.index + 1 });
    expect(diffKeyed(known, other, { mayRemove: false })).toEqual([]);
  });

  test("removes the device when nothing goes through VXLAN any more", () => {
    const direct = overlay({ backend: "direct", peers: [nodeB] }).node;
    expect(plan(direct, observed(desired)).at(-1)).toBe("ip link del dev fl-vxlan");
  });

  test("takes over what somebody added to our device", () => {
    const from = observed(desired);
    const surplus = {
      ...from,
      addresses: [
        ...from.addresses,
        { device: ifName("fl-vxlan"), address: ip("192.0.2.1"), prefixLength: 24 },
      ],
    };
    expect(plan(desired, surplus)).toEqual(["ip address del 192.0.2.1/24 dev fl-vxlan"]);
  });

  test("makes a route anew where others stand beside it or in its place", () => {
    const from = observed(desired);
    const ours = from.routes.find(({ device }) => device === "eth0")!;
    const [second, third] = ["172.30.1.98", "172.30.1.97"].map((gateway) => ({
      ...ours,
      gateway: ip(gateway),
    }));
    const lines = (there: readonly Route[]): readonly string[] => {
      const rest = from.routes.filter((route) => route !== ours);
      return plan(desired, { ...from, routes: [...rest, ...there] });
    };
    const put = "ip route replace 10.244.2.0/24 via 172.30.1.12 dev eth0 proto 76 metric 3";
    const removal = (gateway: string): string =>
      `ip route del 10.244.2.0/24 via ${gateway} dev eth0 proto 76 metric 3`;
    expect(lines([ours, { ...ours, isAltered: true }])).toEqual([
      removal("172.30.1.12"),
      `${removal("172.30.1.12")} and more`,
      put,
    ]);
    expect(lines([second!, third!])).toEqual([removal("172.30.1.98"), removal("172.30.1.97"), put]);
  });

  test("replaces a route of ours that was altered", () => {
    const from = observed(desired);
    const routes = from.routes.map((route) =>
      route.gateway === undefined ? route : { ...route, gateway: ip("172.30.1.99") },
    );
    expect(plan(desired, { ...from, routes })).toHaveLength(2);
  });

  test("of a pod CIDR that changed moves the address before what leans on it", () => {
    const changed = overlay({
      local: { ...nodeA, podCidrs: [cidr("10.244.9.0/24")] },
      underlay: underlayOfA,
    }).node;
    expect(plan(changed, observed(desired))).toEqual([
      "ip address add 10.244.9.0/32 dev fl-vxlan",
      "ip route replace unreachable 10.244.9.0/24 dev lo proto 76 metric 10",
      "ip route replace 10.244.3.0/24 via 10.244.3.0 dev fl-vxlan onlink src 10.244.9.0 proto 76 metric 4",
      "ip route del unreachable 10.244.1.0/24 dev lo proto 76 metric 2",
      "ip address del 10.244.1.0/32 dev fl-vxlan",
    ]);
  });
});
