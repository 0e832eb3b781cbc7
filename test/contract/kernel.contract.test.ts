// What every Kernel promises of links, addresses, neighbors and forwarding entries. Each test
// runs against the fake and against Linux; with Linux, iproute2 says the same.
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { isIpv4 } from "../../core/address.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import type { Change, Neighbor } from "../../core/network.ts";
import { fdbKind, neighborKind, routeKind } from "../../core/object-kind.ts";
import { ifName, ip, mac } from "../support/builders.ts";
import {
  type Scene,
  aRoute,
  failureOf,
  json,
  kernels,
  overlay,
  overlayChanges,
  setUp,
} from "./kernels.ts";

const underlay = ifName("under0");

describe.each(kernels)("%s", (_name, openScene) => {
  let scene: Scene;
  let kernel: Kernel;
  beforeEach(() => {
    scene = openScene();
    kernel = scene.kernel;
  });
  afterEach(() => scene[Symbol.dispose]());

  describe("links", () => {
    test("a new namespace has loopback alone", () => {
      expect(kernel.links().map(({ name, index, isUp }) => ({ name, index, isUp }))).toEqual([
        { name: "lo", index: 1, isUp: true },
      ]);
      expect(kernel.link("lo")).toMatchObject({ mtu: 65_536, group: 0 });
      expect(kernel.link("none0")).toBeUndefined();
    });

    test("a VXLAN device has the parameters that it was made with", () => {
      scene.addUnderlay(underlay);
      const underlayIndex = kernel.link(underlay)!.index;
      const vxlan = {
        vni: 7,
        port: 8472,
        local: ip("192.0.2.1"),
        underlayIndex,
        learning: false,
      };
      const add: Change = {
        kind: "add-vxlan",
        name: overlay,
        mac: mac("02:00:00:00:01:01"),
        mtu: 1430,
        vxlan,
      };
      kernel.apply([add]);
      expect(kernel.link(overlay)).toEqual({
        index: expect.any(Number),
        name: overlay,
        type: "vxlan",
        mac: "02:00:00:00:01:01",
        mtu: 1430,
        isUp: false,
        group: 0,
        linkIndex: underlayIndex,
        vxlan,
      });
      if (scene.run !== undefined) {
        const [shown] = json(scene.run("ip", "-j", "-d", "link", "show", overlay));
        expect(shown.linkinfo.info_data).toMatchObject({
          id: 7,
          port: 8472,
          local: "192.0.2.1",
          link: underlay,
          learning: false,
        });
      }
      expect(failureOf(() => kernel.apply([add]))?.errno).toBe("EEXIST");
    });

    test("a VXLAN device may have an IPv6 underlay", () => {
      const vxlan = { vni: 8, port: 4789, local: ip("2001:db8::1"), learning: true };
      kernel.apply([
        { kind: "add-vxlan", name: overlay, mac: mac("02:00:00:00:01:01"), mtu: 1430, vxlan },
      ]);
      expect(kernel.link(overlay)?.vxlan).toEqual(vxlan);
    });

    test("settings change what they name and leave the rest", () => {
      scene.addUnderlay(underlay);
      const before = kernel.link(underlay)!;
      const settings = {
        mtu: 1400,
        mac: mac("02:00:00:00:00:77"),
        alias: "fairlead:a/b",
        group: 9,
        rpFilter: 2,
      } as const;
      kernel.apply([{ kind: "set-link", device: underlay, settings }]);
      const { rpFilter: _, ...shown } = settings;
      expect(kernel.link(underlay)).toEqual({ ...before, ...shown });
      kernel.apply([
        { kind: "set-link", device: underlay, index: before.index, settings: { isUp: false } },
      ]);
      expect(kernel.link(underlay)).toEqual({ ...before, ...shown, isUp: false });
      const path = `/proc/sys/net/ipv4/conf/${underlay}/rp_filter`;
      if (scene.run !== undefined) expect(scene.run("cat", path)).toBe("2\n");
    });

    test.each([
      ["ascii", `fairlead:${"n".repeat(63)}/${"p".repeat(253)}`, 255],
      ["other", `fairlead:${"é".repeat(200)}`, 255],
      ["exactly as long as it may be", "a".repeat(255), 255],
    ])("an alias that is too long is cut between characters: %s", (_what, alias, octets) => {
      scene.addUnderlay(underlay);
      kernel.apply([{ kind: "set-link", device: underlay, settings: { alias } }]);
      const kept = kernel.link(underlay)?.alias ?? "";
      expect(alias.startsWith(kept)).toBe(true);
      expect(Buffer.byteLength(kept)).toBe(octets);
      if (scene.run !== undefined) {
        expect(scene.run("cat", `/sys/class/net/${underlay}/ifalias`)).toBe(`${kept}\n`);
      }
    });

    test("what is for a device that could not be made is not done to one of its name", () => {
      scene.addUnderlay(overlay);
      const before = kernel.link(overlay);
      const neighbor = {
        device: overlay,
        address: ip("10.244.2.0"),
        mac: mac("02:00:00:00:02:02"),
      };
      const failure = failureOf(() =>
        kernel.apply([
          ...overlayChanges,
          { kind: "set-link", device: overlay, settings: { alias: "fairlead:overlay", mtu: 1400 } },
          { kind: "set-link", device: overlay, settings: { isUp: false } },
          { kind: "replace-neighbor", neighbor: { ...neighbor, isPermanent: true } },
          { kind: "add-route", route: aRoute("10.244.2.0/24", overlay) },
        ]),
      );
      expect(failure?.errno).toBe("EEXIST");
      expect(kernel.link(overlay)).toEqual(before);
      expect(kernel.addresses(overlay).filter(({ address }) => isIpv4(address))).toEqual([]);
      expect(kernel.neighbors(overlay)).toEqual([]);
      expect(kernel.routes({ protocol: 76 })).toEqual([]);
    });

    test("a device made anew under the same name is not taken for the one before", () => {
      kernel.apply(overlayChanges);
      kernel.apply([
        { kind: "set-link", device: overlay, settings: { mtu: 1400 } },
        { kind: "remove-link", device: overlay },
        ...overlayChanges,
        { kind: "set-link", device: overlay, settings: { mtu: 1300 } },
      ]);
      expect(kernel.link(overlay)).toMatchObject({ mtu: 1300, isUp: true });
      expect(kernel.addresses(overlay)).toHaveLength(2);
    });

    test("linkLocal: false keeps the kernel from making a link-local address", () => {
      kernel.apply(overlayChanges);
      expect(kernel.addresses(overlay).map(({ address }) => address)).toEqual([
        "10.244.1.0",
        "fd00:1::",
      ]);
    });

    // Linux takes IPv6 from a device whose MTU is less than IPv6 asks for.
    test("linkLocal: false asks nothing of a device without IPv6, and the rest is set", () => {
      scene.addUnderlay(underlay);
      kernel.apply([
        { kind: "set-link", device: underlay, settings: { mtu: 1000 } },
        { kind: "set-link", device: underlay, settings: { rpFilter: 1, linkLocal: false } },
        { kind: "set-link", device: underlay, settings: { alias: "later" } },
      ]);
      expect(kernel.link(underlay)).toMatchObject({ mtu: 1000, alias: "later" });
      const path = `/proc/sys/net/ipv4/conf/${underlay}/rp_filter`;
      if (scene.run !== undefined) expect(scene.run("cat", path)).toBe("1\n");
    });

    test("linkLocal: false and the rest in one change", () => {
      scene.addUnderlay(underlay);
      const settings = { rpFilter: 1, linkLocal: false, routeLocalnet: true } as const;
      kernel.apply([{ kind: "set-link", device: underlay, settings }]);
      if (scene.run === undefined) return;
      const of = (family: string, name: string) =>
        scene.run?.("cat", `/proc/sys/net/${family}/conf/${underlay}/${name}`);
      expect([
        of("ipv4", "rp_filter"),
        of("ipv4", "route_localnet"),
        of("ipv6", "addr_gen_mode"),
      ]).toEqual(["1\n", "1\n", "1\n"]);
    });

    test("removal takes everything on the link along, and is no failure when it is gone", () => {
      kernel.apply([
        ...overlayChanges,
        { kind: "add-route", route: aRoute("10.244.2.0/24", overlay) },
      ]);
      kernel.apply([{ kind: "remove-link", device: overlay }]);
      expect(kernel.link(overlay)).toBeUndefined();
      expect(kernel.routes({ protocol: 76 })).toEqual([]);
      expect(kernel.addresses(overlay)).toEqual([]);
      expect(kernel.fdb(overlay)).toEqual([]);
      kernel.apply([{ kind: "remove-link", device: overlay }]);
    });

    test("a link can be removed and made again in one batch", () => {
      kernel.apply(overlayChanges);
      const before = kernel.link(overlay)!.index;
      kernel.apply([{ kind: "remove-link", device: overlay }, ...overlayChanges]);
      expect(kernel.link(overlay)?.index).not.toBe(before);
      expect(kernel.addresses(overlay)).toHaveLength(2);
    });
  });

  describe("addresses", () => {
    test.each([
      ["10.244.1.1", 32],
      ["10.244.1.1", 24],
      ["fd00:1::1", 128],
      ["fd00:1::1", 64],
    ] as const)("%s/%i is added once, without a route of its own, and removed", (text, bits) => {
      kernel.apply(overlayChanges.slice(0, 2));
      const address = { device: overlay, address: ip(text), prefixLength: bits };
      kernel.apply([{ kind: "add-address", address }]);
      expect(kernel.addresses(overlay)).toEqual([address]);
      expect(kernel.routes({ table: 254 })).toEqual([]);
      if (scene.run !== undefined) {
        const [shown] = json(scene.run("ip", "-j", "address", "show", overlay));
        expect(shown.addr_info).toMatchObject([{ local: text, prefixlen: bits }]);
        expect(shown.addr_info[0].tentative).toBeUndefined();
      }
      const again = failureOf(() => kernel.apply([{ kind: "add-address", address }]));
      expect(again).toMatchObject({ errno: "EEXIST" });
      expect(again?.message).toContain(`ip address add ${text}/${bits} dev ${overlay}`);
      kernel.apply([{ kind: "remove-address", address }]);
      expect(kernel.addresses(overlay)).toEqual([]);
      kernel.apply([{ kind: "remove-address", address }]);
    });
  });

  describe.each([
    ["10.244.1.7", "10.244.1.8"],
    ["fd00:1::7", "fe80::1"],
  ] as const)("neighbors such as %s", (oneAddress, otherAddress) => {
    test("are replaced, observed and removed", () => {
      kernel.apply(overlayChanges);
      const one: Neighbor = {
        device: overlay,
        address: ip(oneAddress),
        mac: mac("02:00:00:00:00:07"),
        isPermanent: true,
      };
      const other: Neighbor = {
        ...one,
        address: ip(otherAddress),
        isPermanent: false,
      };
      kernel.apply([
        { kind: "replace-neighbor", neighbor: { ...one, mac: mac("02:00:00:00:00:66") } },
        { kind: "replace-neighbor", neighbor: other },
        { kind: "replace-neighbor", neighbor: one },
      ]);
      expect(byAddress(kernel.neighbors(overlay))).toEqual(byAddress([one, other]));
      if (scene.run !== undefined) {
        const shown = json(scene.run("ip", "-j", "neighbor", "show", oneAddress, "dev", overlay));
        expect(shown).toMatchObject([{ lladdr: one.mac, state: ["PERMANENT"] }]);
      }
      kernel.apply([
        { kind: "remove-neighbor", neighbor: one },
        { kind: "remove-neighbor", neighbor: one },
      ]);
      expect(kernel.neighbors(overlay)).toEqual([other]);
      expect(kernel.neighbors(ifName("none0"))).toEqual([]);
      kernel.apply([{ kind: "remove-neighbor", neighbor: { ...one, device: ifName("none0") } }]);
    });
  });

  test("forwarding entries are replaced by their MAC, observed and removed", () => {
    kernel.apply(overlayChanges);
    const entry = {
      device: overlay,
      mac: mac("02:00:00:00:02:02"),
      destination: ip("192.0.2.2"),
      isPermanent: true,
    };
    const moved = { ...entry, destination: ip("192.0.2.3") };
    kernel.apply([
      { kind: "replace-fdb", entry },
      { kind: "replace-fdb", entry: moved },
    ]);
    expect(kernel.fdb(overlay)).toEqual([moved]);
    if (scene.run !== undefined) {
      const shown = json(scene.run("bridge", "-j", "fdb", "show", "dev", overlay));
      expect(shown).toMatchObject([{ mac: entry.mac, dst: "192.0.2.3", state: "permanent" }]);
    }
    kernel.apply([
      { kind: "remove-fdb", entry },
      { kind: "remove-fdb", entry: moved },
      { kind: "remove-fdb", entry: moved },
    ]);
    expect(kernel.fdb(overlay)).toEqual([]);
  });

  test("what the caller knows is given as the caller's own object, the rest as it is", () => {
    kernel.apply(overlayChanges);
    const [one, other] = [1, 2].map((n) => ({
      neighbor: neighborKind.put({
        device: overlay,
        address: ip(`10.9.0.${n}`),
        mac: mac("02:00:00:00:00:05"),
        isPermanent: true,
      }),
      entry: fdbKind.put({
        device: overlay,
        mac: mac(`02:00:00:00:00:0${n}`),
        destination: ip("192.0.2.7"),
        isPermanent: true,
      }),
      route: routeKind.put(aRoute(`10.9.${n}.0/24`, overlay)),
    }));
    for (const { neighbor, entry, route } of [one!, other!]) {
      kernel.apply([neighbor, entry, route]);
    }
    const [neighbors, entries] = [kernel.neighbors(overlay), kernel.fdb(overlay)];
    const routes = kernel.routes({ protocol: 76 });
    const own = {
      neighbor: { ...neighbors[0]! },
      entry: { ...entries[0]! },
      route: { ...routes[0]! },
    };
    const found = {
      neighbors: kernel.neighbors(overlay, (it) =>
        it.address === own.neighbor.address ? own.neighbor : it,
      ),
      entries: kernel.fdb(overlay, (it) => (it.mac === own.entry.mac ? own.entry : it)),
      routes: kernel.routes({ protocol: 76 }, (it) =>
        it.destination === own.route.destination ? own.route : it,
      ),
    };
    expect(found).toEqual({ neighbors, entries, routes });
    expect(found.neighbors).toContain(own.neighbor);
    expect(found.entries).toContain(own.entry);
    expect(found.routes).toContain(own.route);
  });

  test("changes of the same batch know each other's devices", () => {
    kernel.apply([
      ...overlayChanges,
      setUp(overlay),
      { kind: "add-route", route: aRoute("10.244.2.0/24", overlay) },
    ]);
    expect(kernel.routes({ protocol: 76, device: overlay })).toEqual([
      aRoute("10.244.2.0/24", overlay),
    ]);
  });
});

const byAddress = (neighbors: readonly Neighbor[]): readonly Neighbor[] =>
  [...neighbors].sort((a, b) => a.address.localeCompare(b.address));
