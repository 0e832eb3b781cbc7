// What every Kernel promises of sandboxes, veth pairs into them, sysctls and reaping.
import { readdirSync } from "node:fs";
import { setTimeout } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { Mac } from "../../core/address.ts";
import type { IfName } from "../../core/names.ts";
import type { Change } from "../../core/network.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { ifName, ip, mac } from "../support/builders.ts";
import {
  type Scene,
  aRoute,
  addVeth,
  failureOf,
  hostEnd,
  json,
  kernels,
  podEnd,
  setUp,
} from "./kernels.ts";

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

  const nextHop = { device: podEnd.name, address: ip("169.254.1.1"), mac: hostEnd.mac };
  const podAddress = { device: podEnd.name, address: ip("10.244.1.7"), prefixLength: 32 };
  const defaultRoute = aRoute("0.0.0.0/0", podEnd.name, {
    gateway: nextHop.address,
    onlink: true,
    scope: "global",
  });
  const hostRoute = aRoute("10.244.1.7/32", hostEnd.name);

  describe("a sandbox", () => {
    test("an interface that is given a MAC loses its neighbors, the permanent ones too", () => {
      using sandbox = kernel.openSandbox(scene.addSandbox());
      kernel.apply([addVeth(sandbox.fd), setUp(hostEnd.name)]);
      const device = podEnd.name;
      const neighbor = {
        device,
        address: ip("169.254.1.1"),
        mac: hostEnd.mac,
        isPermanent: true,
      };
      sandbox.apply([setUp(device), { kind: "replace-neighbor", neighbor }]);
      const setMac = (to: Mac): Change => ({ kind: "set-link", device, settings: { mac: to } });
      expect(sandbox.neighbors(device)).toEqual([neighbor]);
      sandbox.apply([setMac(mac("02:11:22:33:44:55"))]);
      expect(sandbox.neighbors(device)).toEqual([]);
    });

    test("is attached by one batch on the node and one inside", async () => {
      using sandbox = kernel.openSandbox(path);
      kernel.apply([
        addVeth(sandbox.fd),
        {
          kind: "set-link",
          device: hostEnd.name,
          settings: { isUp: true, linkLocal: false, rpFilter: 1, routeLocalnet: true },
        },
        { kind: "add-route", route: hostRoute },
        {
          kind: "replace-neighbor",
          neighbor: {
            device: hostEnd.name,
            address: podAddress.address,
            mac: podEnd.mac,
            isPermanent: true,
          },
        },
      ]);
      expect(kernel.isRunning(hostEnd.name)).toBe(false);
      sandbox.apply([
        setUp(podEnd.name),
        { kind: "add-address", address: podAddress },
        { kind: "add-route", route: defaultRoute },
        { kind: "replace-neighbor", neighbor: { ...nextHop, isPermanent: true } },
      ]);
      await vi.waitFor(() => expect(kernel.isRunning(hostEnd.name)).toBe(true), {
        timeout: 30_000,
      });
      expect(kernel.isRunning(ifName("none0"))).toBe(false);
      expect(kernel.link(hostEnd.name)).toEqual({
        ...hostEnd,
        type: "veth",
        mtu: 1450,
        isUp: true,
        alias: "fairlead:default/web",
        group: 0,
        linkIndex: podEnd.index,
      });
      expect(sandbox.link("eth0")).toEqual({
        ...podEnd,
        type: "veth",
        mtu: 1450,
        isUp: true,
        group: 0,
        linkIndex: hostEnd.index,
      });
      expect(kernel.link("eth0")).toBeUndefined();
      expect(sandbox.addresses(podEnd.name)).toEqual([podAddress]);
      expect(sandbox.routes({ protocol: 76 })).toEqual([defaultRoute]);
      expect(sandbox.neighbors(podEnd.name)).toEqual([{ ...nextHop, isPermanent: true }]);
      expect(kernel.routes({ protocol: 76 })).toEqual([hostRoute]);
      if (scene.run === undefined || scene.runIn === undefined) return;
      const [shown] = json(scene.runIn(path, "ip", "-j", "-d", "link", "show", "eth0"));
      expect(shown).toMatchObject({ num_tx_queues: 1, num_rx_queues: 1, address: podEnd.mac });
      for (const setting of ["rp_filter", "route_localnet"]) {
        const file = `/proc/sys/net/ipv4/conf/${hostEnd.name}/${setting}`;
        expect(scene.run("cat", file)).toBe("1\n");
      }
      // The node has no address of its own here; a packet from the pod still reaches its host end.
      const reached = scene.runIn(path, "ip", "route", "get", "192.0.2.9");
      expect(reached).toContain("via 169.254.1.1 dev eth0 src 10.244.1.7");
    });

    test("has an identity, the same each time, and not the node's", () => {
      using one = kernel.openSandbox(path);
      using again = kernel.openSandbox(path);
      using other = kernel.openSandbox(scene.addSandbox());
      expect(again.identity).toEqual(one.identity);
      expect(other.identity).not.toEqual(one.identity);
      expect(one.identity).not.toEqual(kernel.identity);
    });

    test("that is not there is ENOENT, naming the path", () =>
      expect(failureOf(() => kernel.openSandbox("/run/netns/fairlead-none"))).toMatchObject({
        errno: "ENOENT",
        message: expect.stringContaining('"/run/netns/fairlead-none"'),
      }));

    test("refuses a name that is taken inside, and then nothing is made outside", () => {
      using sandbox = kernel.openSandbox(path);
      kernel.apply([addVeth(sandbox.fd)]);
      const second: Change = {
        kind: "add-veth",
        host: { name: ifName("fl00000000000c"), index: 4003, mac: mac("02:00:00:00:00:0c") },
        pod: { ...podEnd, index: 4004 },
        sandboxFd: sandbox.fd,
        mtu: 1450,
      };
      const failure = failureOf(() => kernel.apply([second]));
      expect(failure?.errno).toBe("EEXIST");
      expect(failure?.message).toContain("ip link add fl00000000000c");
      expect(kernel.link("fl00000000000c")).toBeUndefined();
    });

    test.each([
      ["name", { ...hostEnd, index: 4010 }],
      ["index", { ...hostEnd, name: ifName("fl00000000000d") }],
    ] as const)("refuses a host end whose %s is taken", (_what, host) => {
      using sandbox = kernel.openSandbox(path);
      kernel.apply([addVeth(sandbox.fd)]);
      const pod = { name: ifName("eth1"), index: 4011, mac: mac("02:00:00:00:00:0d") };
      const again: Change = { kind: "add-veth", host, pod, sandboxFd: sandbox.fd, mtu: 1450 };
      expect(failureOf(() => kernel.apply([again]))?.errno).toBe("EEXIST");
      expect(sandbox.link("eth1")).toBeUndefined();
    });

    test("leaves the device alone that has the index which was chosen for a new one", () => {
      using sandbox = kernel.openSandbox(path);
      kernel.apply([addVeth(sandbox.fd), setUp(hostEnd.name)]);
      const before = kernel.link(hostEnd.name);
      const host = { ...hostEnd, name: ifName("fl00000000000d") };
      const pod = { name: ifName("eth1"), index: 4011, mac: mac("02:00:00:00:00:0d") };
      const common = { sandboxFd: sandbox.fd, mtu: 1450, alias: "fairlead:other/pod" };
      const settings = { isUp: true, group: 9 };
      const failure = failureOf(() =>
        kernel.apply([
          { kind: "add-veth", host, pod, ...common },
          { kind: "set-link", device: host.name, index: host.index, settings },
          { kind: "add-route", route: aRoute("10.244.1.9/32", host.name) },
          {
            kind: "replace-neighbor",
            neighbor: { ...nextHop, device: host.name, isPermanent: true },
          },
        ]),
      );
      expect(failure?.errno).toBe("EEXIST");
      expect(failure?.message).toContain(`ip link add ${host.name}`);
      expect(kernel.link(hostEnd.name)).toEqual(before);
      expect(kernel.routes({ protocol: 76 })).toEqual([]);
      expect(kernel.neighbors(hostEnd.name)).toEqual([]);
    });

    test("refuses a pod end whose index is taken inside", () => {
      using sandbox = kernel.openSandbox(path);
      kernel.apply([addVeth(sandbox.fd)]);
      const again: Change = {
        kind: "add-veth",
        host: { name: ifName("fl00000000000d"), index: 4010, mac: mac("02:00:00:00:00:0d") },
        pod: { ...podEnd, name: ifName("eth1") },
        sandboxFd: sandbox.fd,
        mtu: 1450,
      };
      expect(failureOf(() => kernel.apply([again]))?.errno).toBe("EBUSY");
      expect(kernel.link("fl00000000000d")).toBeUndefined();
    });

    test("that ends takes the host end of its pair along", async () => {
      const sandbox = kernel.openSandbox(path);
      kernel.apply([addVeth(sandbox.fd)]);
      sandbox[Symbol.dispose]();
      scene.removeSandbox(path);
      for (let wait = 0; kernel.link(hostEnd.name) !== undefined && wait < 200; wait++) {
        await setTimeout(10);
      }
      expect(kernel.link(hostEnd.name)).toBeUndefined();
    });

    test("takes a sysctl write, and the node keeps its own", () => {
      using sandbox = kernel.openSandbox(path);
      sandbox.writeSysctl("net.ipv4.ip_forward", "1");
      expect(kernel.readSysctl("net.ipv4.ip_forward")).toBe("0");
      if (scene.runIn !== undefined) {
        expect(scene.runIn(path, "cat", "/proc/sys/net/ipv4/ip_forward")).toBe("1\n");
      }
      kernel.writeSysctl("net/ipv4/ip_forward", "1");
      expect(kernel.readSysctl("net.ipv4.ip_forward")).toBe("1");
    });
  });

  test("a sysctl that is not there reads as undefined and refuses to be written", () => {
    expect(kernel.readSysctl("net.ipv4.conf.none0.rp_filter")).toBeUndefined();
    const failure = failureOf(() => kernel.writeSysctl("net.ipv4.conf.none0.rp_filter", "1"));
    expect(failure?.errno).toBe("ENOENT");
    expect(failureOf(() => kernel.readSysctl("net/../../etc/passwd"))?.errno).toBe("EINVAL");
  });

  describe("reap()", () => {
    const names = Array.from({ length: 20 }, (_, i) => ifName(`fl0000000000${40 + i}`));

    function addPairs(sandboxFd: number): void {
      const macOf = (i: number, end: number): Mac => mac(`02:00:00:00:0${end}:${10 + i}`);
      const add = (name: IfName, i: number): Change => ({
        kind: "add-veth",
        host: { name, index: 5000 + i, mac: macOf(i, 1) },
        pod: { name: ifName(`eth${i}`), index: 6000 + i, mac: macOf(i, 2) },
        sandboxFd,
        mtu: 1450,
      });
      kernel.apply(names.map(add));
    }

    test("removes links, and resolves when they are gone", async () => {
      using sandbox = kernel.openSandbox(path);
      addPairs(sandbox.fd);
      expect(kernel.links()).toHaveLength(1 + names.length);
      const half = names.length / 2;
      await Promise.all([
        kernel.reap(names.slice(0, half)),
        ...names.slice(half).map((name) => kernel.reap([name])),
      ]);
      expect(kernel.links().map(({ name }) => name)).toEqual(["lo"]);
      expect(sandbox.links().map(({ name }) => name)).toEqual(["lo"]);
    });

    test("is content with what is not there", async () => {
      using sandbox = kernel.openSandbox(path);
      addPairs(sandbox.fd);
      await kernel.reap([ifName("none0"), names[0]!]);
      await kernel.reap([names[0]!, ifName("none0")]);
      await kernel.reap([]);
      expect(kernel.link(names[0]!)).toBeUndefined();
      expect(kernel.link(names[1]!)).toBeDefined();
    });
  });
});

/** How many descriptors this process has open. */
const openDescriptors = (): number => readdirSync("/proc/self/fd").length;

test("Linux: no descriptor outlives its owner", async () => {
  const [, openScene] = kernels[1]!;
  // Opened once for the whole process: the way back from a sandbox.
  using first = openScene();
  using _ = first.kernel.openSandbox(first.addSandbox());
  const before = openDescriptors();
  {
    using scene = openScene();
    const path = scene.addSandbox();
    for (let round = 0; round < 50; round++) {
      using sandbox = scene.kernel.openSandbox(path);
      using _watch = scene.kernel.watch(() => {});
      sandbox.writeSysctl("net.ipv4.ip_forward", "1");
      scene.kernel.readSysctl("net.ipv4.ip_forward");
      failureOf(() => scene.kernel.openSandbox("/etc/passwd"));
      failureOf(() => scene.kernel.openSandbox("/proc/self/ns/mnt"));
    }
    scene.kernel.observeNft("none");
    await scene.kernel.reap([ifName("none0")]);
  }
  await setTimeout(10);
  expect(openDescriptors()).toBeLessThanOrEqual(before);
});
