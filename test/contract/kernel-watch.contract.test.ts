// What every Kernel promises of notifications.
import { once } from "node:events";
import { setTimeout } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { IfName } from "../../core/names.ts";
import type { ObjectChange } from "../../core/network-change.ts";
import { type Change, type LinkSettings, normalRoute } from "../../core/network.ts";
import type { Kernel, KernelEvent } from "../../kernel/kernel.ts";
import { ifName, ip, mac } from "../support/builders.ts";
import { type Scene, aRoute, hostEnd, kernels, overlay, overlayChanges } from "./kernels.ts";

describe.each(kernels)("%s", (_name, openScene) => {
  let scene: Scene;
  let kernel: Kernel;
  let path: string;
  beforeEach(() => {
    scene = openScene();
    kernel = scene.kernel;
    path = scene.addSandbox();
  });
  afterEach(() => scene[Symbol.dispose]());

  const nextHop = { address: ip("169.254.1.1"), mac: hostEnd.mac };

  describe("watch()", () => {
    /** The objects that events named until all that are waited for have been. */
    async function changed(action: () => void, ...awaited: readonly string[]) {
      const seen = new Set<string>();
      let events = 0;
      const done = new EventTarget();
      using _ = kernel.watch((event: KernelEvent) => {
        events++;
        expect(event.overflow).toBe(false);
        for (const object of event.objects) seen.add(object);
        if (awaited.every((object) => seen.has(object))) done.dispatchEvent(new Event("all"));
      });
      const all = once(done, "all", { signal: AbortSignal.timeout(5000) });
      action();
      await all;
      return { seen, events };
    }

    test("tells of links, addresses, routes and neighbors, all of one turn at once", async () => {
      const { events } = await changed(
        () =>
          kernel.apply([
            ...overlayChanges,
            { kind: "add-route", route: aRoute("10.244.2.0/24", overlay) },
            { kind: "add-route", route: aRoute("fd00:2::/64", overlay) },
            {
              kind: "replace-neighbor",
              neighbor: { ...nextHop, device: overlay, isPermanent: true },
            },
          ]),
        "link",
        "address",
        "route",
        "neighbor",
      );
      expect(events).toBe(1);
    });

    test("tells each route, neighbor and entry as it is, and that it is gone", async () => {
      kernel.apply(overlayChanges);
      // Linux tells of a new link's carrier up to a second later, but at once when it is asked for.
      kernel.link(overlay);
      const route = aRoute("10.244.2.0/24", overlay, { metric: 3 });
      const neighbor = { ...nextHop, device: overlay, isPermanent: true };
      const entry = {
        device: overlay,
        mac: nextHop.mac,
        destination: ip("192.0.2.9"),
        isPermanent: true,
      };
      const told: ObjectChange[] = [];
      using _ = kernel.watch(({ changes, devices }) => {
        // An IPv6 address brings a route of the kernel's own, some time after it.
        const isOurs = ({ item }: ObjectChange): boolean =>
          !("protocol" in item) || item.protocol === route.protocol;
        if (changes !== "many") told.push(...changes.filter(isOurs));
        for (const device of devices) seen.add(device);
      });
      const seen = new Set<string>();
      const isTold = async (wanted: readonly ObjectChange[]): Promise<void> => {
        await expect.poll(() => told).toEqual(wanted);
        told.length = 0;
      };
      const byAddress = { device: overlay, address: nextHop.address };
      kernel.apply([{ kind: "replace-neighbor", neighbor }]);
      await isTold([{ kind: "neighbor", item: neighbor }]);
      kernel.apply([{ kind: "replace-fdb", entry }]);
      await isTold([{ kind: "fdb", item: entry }]);
      kernel.apply([{ kind: "replace-route", route }]);
      await isTold([{ kind: "route", item: normalRoute(route) }]);
      kernel.apply([{ kind: "remove-route", route }]);
      await isTold([{ kind: "route-gone", item: normalRoute(route) }]);
      kernel.apply([{ kind: "remove-fdb", entry }]);
      await isTold([{ kind: "fdb-gone", item: entry }]);
      kernel.apply([{ kind: "remove-neighbor", neighbor }]);
      // Linux says so twice: that it failed, and that it is gone.
      await expect
        .poll(() => told.splice(0)[0])
        .toMatchObject({ kind: "neighbor-gone", item: byAddress });
      expect([...seen]).toEqual([]);
      kernel.apply([{ kind: "set-link", device: overlay, settings: { mtu: 1300 } }]);
      await expect.poll(() => [...seen]).toEqual([overlay]);
    });

    test("says of which links something went that is not told of", async () => {
      const lossy: string[] = [];
      const devices: string[] = [];
      using _ = kernel.watch((event) => {
        lossy.push(...event.lossy);
        devices.push(...event.devices);
      });
      const told = async (changes: readonly Change[]): Promise<readonly string[]> => {
        kernel.apply(changes);
        await expect.poll(() => devices.splice(0)).toContain(overlay);
        await setTimeout(20);
        return lossy.splice(0);
      };
      const set = (settings: LinkSettings): readonly Change[] => [
        { kind: "set-link", device: overlay, settings },
      ];
      expect(await told(overlayChanges)).toEqual([]);
      const address = { device: overlay, address: ip("192.0.2.200"), prefixLength: 32 };
      expect(await told([{ kind: "add-address", address }])).toEqual([]);
      expect(await told(set({ mtu: 1300 }))).toEqual([]);
      expect(await told([{ kind: "remove-address", address }])).toContain(overlay);
      expect(await told([...set({ isUp: false }), ...set({ isUp: true })])).toContain(overlay);
      if (scene.run !== undefined) {
        scene.run("ip", "link", "set", overlay, "name", "away0");
        scene.run("ip", "link", "set", "away0", "name", overlay);
        expect(await told([])).toContain(overlay);
      }
      expect(await told([{ kind: "remove-link", device: overlay }])).toContain(overlay);
    });

    test("tells somebody else of links that are apart, and of what is on them", async () => {
      const pod = ifName("fl00000000000a");
      const addPod = (host: IfName, index: number): void => {
        using sandbox = kernel.openSandbox(path);
        kernel.apply([
          {
            kind: "add-veth",
            host: { name: host, index, mac: mac("02:00:00:00:00:0a") },
            pod: { name: ifName(`pod${index}`), index: index + 1, mac: mac("02:00:00:00:00:0b") },
            sandboxFd: sandbox.fd,
            mtu: 1450,
          },
          { kind: "set-link", device: host, settings: { isUp: true } },
          { kind: "add-route", route: aRoute("10.9.9.9/32", host) },
        ]);
      };
      addPod(pod, 7000);
      let events = 0;
      const apart: KernelEvent[] = [];
      const includes = (name: string): boolean => name.startsWith("fl0000");
      const onChange = (event: KernelEvent): void => void apart.push(event);
      using _ = kernel.watch(() => events++, { apart: { includes, onChange } });
      const route = aRoute("10.9.9.9/32", pod);
      kernel.apply([{ kind: "remove-route", route }]);
      await expect
        .poll(() => apart.flatMap(({ changes }) => (changes === "many" ? [] : changes)))
        .toEqual([{ kind: "route-gone", item: route }]);
      addPod(ifName("fl00000000000b"), 7010);
      kernel.apply([{ kind: "remove-link", device: pod }]);
      await expect
        .poll(() => new Set(apart.flatMap(({ devices }) => [...devices])))
        .toEqual(new Set(["fl00000000000b", pod]));
      expect(events).toBe(0);
      kernel.apply(overlayChanges);
      await expect.poll(() => events).toBeGreaterThan(0);
    });

    test("says nothing after dispose", async () => {
      let events = 0;
      kernel.watch(() => events++)[Symbol.dispose]();
      kernel.apply(overlayChanges);
      await setTimeout(20);
      expect(events).toBe(0);
    });
  });
});
