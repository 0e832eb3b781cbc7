// What every Kernel promises of routes. Each test runs against the fake and against Linux.
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { loopbackDevice } from "../../core/names.ts";
import {
  type Change,
  type Neighbor,
  type Route,
  localTable,
  mainTable,
  normalRoute,
} from "../../core/network.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { cidr, ifName, ip, mac } from "../support/builders.ts";
import {
  type Scene,
  aRoute,
  failureOf,
  json,
  kernels,
  overlay,
  overlayChanges,
} from "./kernels.ts";

const underlay = ifName("under0");

describe.each(kernels)("routes of %s", (_name, openScene) => {
  let scene: Scene;
  let kernel: Kernel;
  beforeEach(() => {
    scene = openScene();
    kernel = scene.kernel;
    kernel.apply(overlayChanges);
  });
  afterEach(() => scene[Symbol.dispose]());

  const routes: readonly (readonly [string, Route])[] = [
    ["to a pod", aRoute("10.244.1.7/32", overlay, { source: ip("10.244.1.0") })],
    ["to an IPv6 pod", aRoute("fd00:1::7/128", overlay, { source: ip("fd00:1::") })],
    [
      "to a peer's pods",
      aRoute("10.244.2.0/24", overlay, {
        gateway: ip("10.244.2.0"),
        onlink: true,
        source: ip("10.244.1.0"),
        metric: 3,
        scope: "global",
      }),
    ],
    [
      "to a peer's IPv6 pods",
      aRoute("fd00:2::/64", overlay, {
        gateway: ip("fd00:2::"),
        onlink: true,
        source: ip("fd00:1::"),
        metric: 3,
        scope: "global",
      }),
    ],
    [
      "by default",
      aRoute("0.0.0.0/0", overlay, {
        gateway: ip("169.254.1.1"),
        onlink: true,
        scope: "global",
      }),
    ],
    [
      "by IPv6 default",
      aRoute("::/0", overlay, { gateway: ip("fe80::1"), onlink: true, scope: "global" }),
    ],
    [
      "of IPv4 over an IPv6 next hop",
      aRoute("10.244.3.0/24", overlay, {
        gateway: ip("fe80::1"),
        onlink: true,
        scope: "global",
      }),
    ],
    ["in a table of its own", aRoute("10.244.4.0/24", overlay, { table: 10_076 })],
    [
      "to this node itself",
      aRoute("10.96.0.10/32", loopbackDevice, {
        type: "local",
        table: localTable,
        scope: "host",
      }),
    ],
    [
      "to this node itself, IPv6",
      aRoute("fd00:96::a/128", loopbackDevice, {
        type: "local",
        table: localTable,
        scope: "host",
      }),
    ],
    ["of a type of service", aRoute("10.244.4.0/24", overlay, { typeOfService: 0x10 })],
    ["from others' addresses", aRoute("fd00:4::/64", overlay, { from: cidr("fd00:3::/64") })],
    ["to nowhere", aRoute("10.244.5.0/24", loopbackDevice, { type: "blackhole", scope: "global" })],
    [
      "to nowhere, IPv6",
      aRoute("fd00:5::/64", loopbackDevice, { type: "unreachable", scope: "global" }),
    ],
    ["with IPv6's default metric", aRoute("fd00:6::/64", overlay, { metric: 0 })],
  ];

  test.each(routes)("%s: observed as added, removed as observed", (_what, route) => {
    kernel.apply([{ kind: "add-route", route }]);
    expect(kernel.routes({ protocol: 76 })).toEqual([route]);
    const again = failureOf(() => kernel.apply([{ kind: "add-route", route }]));
    expect(again).toMatchObject({ errno: "EEXIST" });
    expect(again?.message).toContain(route.destination);
    kernel.apply([{ kind: "replace-route", route }]);
    expect(kernel.routes({ protocol: 76 })).toEqual([route]);
    kernel.apply([{ kind: "remove-route", route }]);
    expect(kernel.routes({ protocol: 76 })).toEqual([]);
    kernel.apply([{ kind: "remove-route", route }]);
  });

  test.each(["10.244.4.0/24", "fd00:4::/64"])("%s of table 0 is in the main one", (destination) => {
    const route = aRoute(destination, overlay, { table: 0 });
    kernel.apply([{ kind: "add-route", route }]);
    expect(kernel.routes({ table: mainTable, protocol: 76 })).toEqual([normalRoute(route)]);
    kernel.apply([{ kind: "remove-route", route }]);
    expect(kernel.routes({ protocol: 76 })).toEqual([]);
  });

  test("replace changes the next hop of the same destination and metric", () => {
    const one = aRoute("10.244.2.0/24", overlay, {
      gateway: ip("10.244.2.0"),
      onlink: true,
      scope: "global",
    });
    const other = { ...one, gateway: ip("10.244.2.9") };
    kernel.apply([
      { kind: "replace-route", route: one },
      { kind: "replace-route", route: other },
    ]);
    expect(kernel.routes({ protocol: 76 })).toEqual([other]);
  });

  test("replace leads an IPv6 block by the tunnel that was reached on the link, and back", () => {
    scene.addUnderlay(underlay);
    kernel.apply([
      {
        kind: "add-address",
        address: { device: underlay, address: ip("2001:db8::11"), prefixLength: 64 },
      },
    ]);
    scene.run?.("ip", "-6", "route", "replace", "2001:db8::/64", "dev", underlay);
    const tunnel = aRoute("fd00:2::/64", overlay, {
      gateway: ip("fd00:2::"),
      onlink: true,
      metric: 3,
      scope: "global",
    });
    const { onlink: _, ...rest } = tunnel;
    const direct = { ...rest, device: underlay, gateway: ip("2001:db8::12") };
    const first = scene.run === undefined ? { ...direct, onlink: true } : direct;
    for (const route of [first, tunnel, first, tunnel]) {
      kernel.apply([{ kind: "replace-route", route }]);
      expect(kernel.routes({ protocol: 76 })).toEqual([normalRoute(route)]);
    }
    // Somebody else's is no way to make room.
    const foreign = aRoute("fd00:3::/64", underlay, { protocol: 4, scope: "link" });
    const refused = aRoute("fd00:3::/64", overlay, {
      gateway: ip("fd00:3::"),
      onlink: true,
      metric: 4,
      scope: "global",
    });
    kernel.apply([{ kind: "add-route", route: foreign }]);
    if (scene.run === undefined) return;
    const failure = failureOf(() => kernel.apply([{ kind: "replace-route", route: refused }]));
    expect(failure?.errno).toBe("EINVAL");
    expect(kernel.routes({ protocol: 4 })).toEqual([normalRoute(foreign)]);
  });

  test("removal spares a route of another protocol, metric or device", () => {
    const ours = aRoute("10.244.2.0/24", overlay, { metric: 5 });
    const kept = [
      aRoute("10.244.2.0/24", overlay, { metric: 6 }),
      aRoute("fd00:2::/64", overlay, { metric: 6 }),
    ];
    const theirs = aRoute("10.244.3.0/24", overlay, { protocol: 3 });
    for (const route of [ours, ...kept, theirs]) kernel.apply([{ kind: "add-route", route }]);
    kernel.apply([
      { kind: "remove-route", route: ours },
      { kind: "remove-route", route: aRoute("fd00:2::/64", overlay, { metric: 0 }) },
      { kind: "remove-route", route: { ...theirs, protocol: 76 } },
      { kind: "remove-route", route: aRoute("10.244.2.0/24", loopbackDevice, { metric: 6 }) },
    ]);
    expect(kernel.routes({ protocol: 76 })).toEqual(kept);
    expect(kernel.routes({ protocol: 3 })).toEqual([theirs]);
  });

  test("a filter gives what it names", () => {
    scene.addUnderlay(underlay);
    const one = aRoute("10.1.0.0/24", overlay);
    const two = aRoute("10.2.0.0/24", underlay);
    const three = aRoute("10.3.0.0/24", underlay, { table: 300, protocol: 77 });
    for (const route of [one, two, three]) kernel.apply([{ kind: "add-route", route }]);
    expect(kernel.routes({ protocol: 76 })).toEqual([one, two]);
    expect(kernel.routes({ protocol: 76, device: underlay })).toEqual([two]);
    expect(kernel.routes({ table: 300 })).toEqual([three]);
    expect(kernel.routes({ device: ifName("none0") })).toEqual([]);
  });

  test("2,000 of them in one batch, each with its metric", () => {
    const many = Array.from({ length: 2000 }, (_, i) =>
      aRoute(`10.${100 + (i >> 8)}.${i & 255}.0/24`, overlay, {
        gateway: ip(`10.${100 + (i >> 8)}.${i & 255}.0`),
        onlink: true,
        scope: "global",
        metric: i + 1,
      }),
    );
    kernel.apply(many.map((route) => ({ kind: "add-route", route })));
    expect(kernel.routes({ protocol: 76 })).toEqual(many);
    if (scene.run !== undefined) {
      expect(json(scene.run("ip", "-j", "route", "show", "proto", "76"))).toHaveLength(2000);
    }
    kernel.apply(many.map((route) => ({ kind: "remove-route", route })));
    expect(kernel.routes({ protocol: 76 })).toEqual([]);
  });

  test("a batch of failures is told by the first, and all the rest is done", () => {
    const good = aRoute("10.244.9.0/24", overlay);
    const bad = Array.from({ length: 1000 }, (_, i): Change => {
      const route = aRoute(`10.20.${i & 255}.${i >> 8}/32`, overlay, { gateway: ip("1.2.3.4") });
      return { kind: "add-route", route: { ...route, scope: "global" } };
    });
    const failure = failureOf(() => kernel.apply([...bad, { kind: "add-route", route: good }]));
    expect(failure).toMatchObject({
      errno: "ENETUNREACH",
      kernelMessage: "Nexthop has invalid gateway",
    });
    expect(failure?.message).toMatch(/^Cannot apply "ip route add 10\.20\.0\.0\/32 via 1\.2\.3\.4/);
    expect(kernel.routes({ protocol: 76 })).toEqual([good]);
  });

  test.each([
    ["of a device that is not there", aRoute("10.1.0.0/24", ifName("none0")), "ENODEV"],
    [
      "of link scope with a gateway",
      aRoute("10.1.0.0/24", overlay, { gateway: ip("10.1.0.1"), onlink: true }),
      "EINVAL",
    ],
    [
      "with a source that is not ours",
      aRoute("10.1.0.0/24", overlay, { source: ip("9.9.9.9") }),
      "EINVAL",
    ],
  ] as const)("one %s is refused", (_what, route, errno) =>
    expect(failureOf(() => kernel.apply([{ kind: "add-route", route }]))?.errno).toBe(errno),
  );

  test("a link that goes down loses its routes, its neighbors and its IPv6 addresses", () => {
    const neighbor: Neighbor = {
      device: overlay,
      address: ip("10.244.1.7"),
      mac: mac("02:00:00:00:00:07"),
      isPermanent: true,
    };
    kernel.apply([
      { kind: "add-route", route: aRoute("10.244.2.0/24", overlay) },
      { kind: "add-route", route: aRoute("fd00:2::/64", overlay) },
      { kind: "replace-neighbor", neighbor },
      { kind: "set-link", device: overlay, settings: { isUp: false } },
    ]);
    expect(kernel.routes({ protocol: 76 })).toEqual([]);
    expect(kernel.neighbors(overlay)).toEqual([]);
    expect(kernel.addresses(overlay).map(({ address }) => address)).toEqual(["10.244.1.0"]);
    const route = aRoute("10.244.2.0/24", overlay);
    const refused = failureOf(() => kernel.apply([{ kind: "add-route", route }]));
    expect(refused).toMatchObject({
      errno: "ENETDOWN",
      kernelMessage: "Device for nexthop is not up",
    });
  });
});
