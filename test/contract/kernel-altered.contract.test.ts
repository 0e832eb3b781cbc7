// What the Linux kernel object tells of routes, neighbors and entries that others made in ways in which fairlead
// makes none, and that it removes exactly those.
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Change, FdbEntry, Route } from "../../core/network.ts";
import { type Kernel } from "../../kernel/kernel.ts";
import { cidr, ifName, ip, mac } from "../support/builders.ts";
import { aRoute, kernels, overlay, overlayChanges, type Scene } from "./kernels.ts";

const underlay = ifName("under0");
const openLinux = kernels[1]![1];

describe("what others made", () => {
  let scene: Scene;
  let kernel: Kernel;
  beforeEach(() => {
    scene = openLinux();
    kernel = scene.kernel;
    kernel.apply(overlayChanges);
    scene.addUnderlay(underlay);
    run(`ip address add 192.0.2.1/24 dev ${underlay}`);
    run(`ip address add 2001:db8::1/64 dev ${underlay} nodad`);
  });
  afterEach(() => scene[Symbol.dispose]());

  const run = (words: string): void => void scene.run!("sh", "-c", words);
  const ours = (): readonly Route[] => kernel.routes({ protocol: 76 });

  const blocks = [
    { block: "10.244.2.0/24", near: "192.0.2.2", far: "192.0.2.3", verb: "ip route" },
    { block: "fd00:2::/64", near: "2001:db8::2", far: "2001:db8::3", verb: "ip -6 route" },
  ];

  test.each(blocks)("to $block: a route of two next hops", ({ block, near, far, verb }) => {
    const hops = [near, far].map((hop) => `nexthop via ${hop} dev ${underlay}`).join(" ");
    run(`${verb} add ${block} proto 76 metric 7 ${hops}`);
    expect(ours()).toMatchObject([{ destination: block, device: underlay, isAltered: true }]);
    kernel.apply(ours().map((route): Change => ({ kind: "remove-route", route })));
    expect(ours()).toEqual([]);
  });

  test.each(["mtu 1300", "advmss 500", "quickack 1"])("a route with %s", (more) => {
    for (const { block, near, verb } of blocks) {
      run(`${verb} add ${block} via ${near} dev ${underlay} proto 76 ${more}`);
    }
    expect(ours().map(({ isAltered }) => isAltered)).toEqual([true, true]);
    const put = ours().map((route) => {
      const { isAltered: _, ...plain } = route;
      return plain;
    });
    kernel.apply(put.map((route): Change => ({ kind: "replace-route", route })));
    expect(ours()).toEqual(put);
  });

  test.each(blocks)("to $block: a route with a nexthop object", ({ block, near, verb }) => {
    run(`ip nexthop add id 7 via ${near} dev ${underlay}; ${verb} add ${block} nhid 7 proto 76`);
    expect(ours()).toMatchObject([{ destination: block, isAltered: true }]);
    kernel.apply(ours().map((route): Change => ({ kind: "remove-route", route })));
    expect(ours()).toEqual([]);
  });

  test.each(blocks)("to $block: a route with a nexthop object that discards", ({ block, verb }) => {
    const family = verb === "ip route" ? "" : "-6";
    run(`ip ${family} nexthop add id 7 blackhole; ${verb} add ${block} nhid 7 proto 76`);
    expect(ours()).toMatchObject([{ destination: block, type: "blackhole", isAltered: true }]);
    kernel.apply(ours().map((route): Change => ({ kind: "remove-route", route })));
    expect(ours()).toEqual([]);
  });

  test("a second route of the same destination and metric is removed, and the first one stays", () => {
    const first = aRoute("10.244.2.0/24", underlay, { gateway: ip("192.0.2.2"), scope: "global" });
    const second = { ...first, gateway: ip("192.0.2.3") };
    kernel.apply([{ kind: "add-route", route: first }]);
    run(`ip route append 10.244.2.0/24 via 192.0.2.3 dev ${underlay} proto 76`);
    expect(ours()).toEqual([first, second]);
    kernel.apply([{ kind: "remove-route", route: second }]);
    expect(ours()).toEqual([first]);
  });

  test.each(
    blocks.flatMap((one) =>
      (["multicast", "broadcast", "anycast"] as const).map((type) => ({ ...one, type })),
    ),
  )("to $block: a route of type $type", ({ block, verb, type }) => {
    run(`${verb} add ${type} ${block} dev ${underlay} proto 76 table 99`);
    const route = aRoute(block, underlay, { type, table: 99 });
    expect(ours()).toEqual([route]);
    kernel.apply([{ kind: "remove-route", route }]);
    expect(ours()).toEqual([]);
  });

  test.each(["site", "17"])("a route of scope %s", (scope) => {
    run(`ip route add 10.244.2.0/24 via 192.0.2.2 dev ${underlay} scope ${scope} proto 76`);
    expect(ours()).toMatchObject([{ destination: "10.244.2.0/24", isAltered: true }]);
    kernel.apply(ours().map((route): Change => ({ kind: "remove-route", route })));
    expect(ours()).toEqual([]);
  });

  const particular = [
    {
      block: "10.244.2.0/24",
      verb: "ip route",
      more: "tos 0x10",
      has: { typeOfService: 0x10 },
      altered: "nhid 7",
    },
    {
      block: "fd00:2::/64",
      verb: "ip -6 route",
      more: "from fd00:1::/64",
      has: { from: cidr("fd00:1::/64") },
      altered: `dev ${underlay} mtu 1300`,
    },
  ];

  test.each(particular)("to $block: a route $more is another than the one without", (one) => {
    const { block, verb, more, has } = one;
    run(`${verb} add ${block} ${more} dev ${underlay} proto 76`);
    const other = aRoute(block, underlay, has);
    expect(ours()).toEqual([other]);
    const route = aRoute(block, underlay);
    kernel.apply([{ kind: "add-route", route }]);
    kernel.apply([{ kind: "remove-route", route }]);
    expect(ours()).toEqual([other]);
    kernel.apply([
      { kind: "add-route", route },
      { kind: "remove-route", route: other },
    ]);
    expect(ours()).toEqual([route]);
  });

  test.each(particular)("to $block: an altered route $more is removed", (one) => {
    const { block, verb, more, has, altered } = one;
    run(`ip nexthop add id 7 blackhole; ${verb} add ${block} ${more} ${altered} proto 76`);
    expect(ours()).toMatchObject([{ destination: block, ...has, isAltered: true }]);
    kernel.apply(ours().map((route): Change => ({ kind: "remove-route", route })));
    expect(ours()).toEqual([]);
  });

  test("an IPv6 route by the tunnel takes the place of anybody's with its metric", () => {
    const route = aRoute("fd00:2::/64", overlay, {
      gateway: ip("fd00:2::"),
      onlink: true,
      metric: 4,
      scope: "global",
    });
    run(`ip -6 route add fd00:2::/64 via 2001:db8::2 dev ${underlay} proto static metric 4`);
    kernel.apply([{ kind: "replace-route", route }]);
    expect(ours()).toEqual([route]);
    expect(scene.run!("ip", "-6", "route", "show", "fd00:2::/64").trim().split("\n")).toHaveLength(
      1,
    );
  });

  test.each([
    ["port 9999", { port: 9999 }],
    ["vni 77", { vni: 77 }],
    [`via ${underlay}`, { underlayIndex: expect.any(Number) }],
  ])("an entry with %s is another than the one without", (more, found) => {
    const entry: FdbEntry = {
      device: overlay,
      mac: mac("02:00:00:00:02:02"),
      destination: ip("192.0.2.2"),
      isPermanent: true,
    };
    kernel.apply([{ kind: "replace-fdb", entry }]);
    run(`bridge fdb replace ${entry.mac} dev ${overlay} dst ${entry.destination} ${more}`);
    const others = kernel.fdb(overlay);
    expect(others).toEqual([{ ...entry, ...found }]);
    kernel.apply([
      { kind: "remove-fdb", entry },
      { kind: "replace-fdb", entry },
      ...others.map((other): Change => ({ kind: "remove-fdb", entry: other })),
    ]);
    expect(kernel.fdb(overlay)).toEqual([entry]);
  });
});
