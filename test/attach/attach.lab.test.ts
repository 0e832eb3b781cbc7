// Attachments on the real kernel. A namespace stands for the node, others for the sandboxes:
//
//   pod 1 eth0 ── fl… ┐
//                     node   uplink 192.0.2.1/24 2001:db8::1/64
//   pod 2 eth0 ── fl… ┘
import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { type Ip, familyOf, ipToBytes } from "../../core/address.ts";
import { CniCode } from "../../core/cni/error.ts";
import type { AttachmentRequest, CniResult } from "../../core/cni/types.ts";
import { hostInterfaceName } from "../../core/names.ts";
import { errnoName } from "../../kernel/errno.ts";
import { systemCalls } from "../../kernel/ffi.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { openKernel } from "../../kernel/linux.ts";
import { openNamespace, runInNamespace } from "../../kernel/netns.ts";
import { cidr } from "../support/builders.ts";
import { type TestNamespace, createNamespace } from "../support/netns.ts";
import {
  type TestNode,
  aConf,
  aNetworkRequest,
  aRequest,
  createNode,
  dualStackFacts,
  forever,
} from "./fixture.ts";

let stack: DisposableStack;
let host: TestNamespace;
let kernel: Kernel;
let node: TestNode;

beforeEach(() => {
  stack = new DisposableStack();
  host = stack.use(createNamespace());
  host.run("ip", "link", "add", "uplink", "type", "veth", "peer", "name", "wire");
  for (const end of ["uplink", "wire"]) host.run("ip", "link", "set", end, "up");
  host.run("ip", "address", "add", "192.0.2.1/24", "dev", "uplink");
  host.run("ip", "address", "add", "2001:db8::1/64", "dev", "uplink", "nodad");
  host.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1");
  kernel = stack.use(openKernel({ namespace: host.path }));
  node = stack.use(createNode(kernel, { nodeFacts: () => dualStackFacts }));
});
afterEach(async () => {
  await node.handlers.settled();
  stack.dispose();
});

const createSandbox = (): TestNamespace => stack.use(createNamespace());
const requestFor = (sandbox: TestNamespace, more = {}): AttachmentRequest =>
  aRequest({ containerId: sandbox.name, netns: sandbox.path, ...more });
const add = (request: AttachmentRequest): Promise<CniResult> => node.handlers.add(request, forever);
const del = async (request: AttachmentRequest): Promise<void> => {
  await node.handlers.del(request, forever);
  await node.handlers.settled();
};
const addressesOf = (result: CniResult) => result.ips.map((given) => given.address.address);
const ping = (from: TestNamespace, address: string, ...more: string[]): string =>
  from.run("ping", "-c1", "-W2", ...more, address);

/** Sends one datagram to a port on which nobody listens. */
function openUdp(from: TestNamespace, address: Ip): Disposable & { error(): string } {
  const [inet6, datagram, dontWait] = [10, 2, 0x40];
  const isIpv6 = familyOf(address) === 6;
  using namespace = openNamespace(from.path);
  const fd = runInNamespace(namespace, () => systemCalls.socket(isIpv6 ? inet6 : 2, datagram, 0));
  // struct sockaddr_in and sockaddr_in6: family, port 9 (discard), [flow,] address.
  const port = [isIpv6 ? inet6 : 2, 0, 0, 9, ...(isIpv6 ? [0, 0, 0, 0] : [])];
  const end = Uint8Array.from([...port, ...ipToBytes(address), 0, 0, 0, 0, 0, 0, 0, 0]);
  expect(systemCalls.connect(fd, end.subarray(0, isIpv6 ? 28 : 16))).toBe(0);
  systemCalls.send(fd, Uint8Array.of(0), 1);
  return {
    error: () => errnoName(systemCalls.recv(fd, new Uint8Array(1), dontWait)),
    [Symbol.dispose]: () => void systemCalls.close(fd),
  };
}

describe("two dual-stack pods", () => {
  test("reach each other and the node, and the node reaches them", async () => {
    const [one, two] = [createSandbox(), createSandbox()];
    const given = [await add(requestFor(one)), await add(requestFor(two))].map(addressesOf);
    expect(given).toEqual([
      ["10.244.1.2", "fd00:10:244:1::2"],
      ["10.244.1.3", "fd00:10:244:1::3"],
    ]);
    for (const address of given[1]!) expect(ping(one, address)).toContain("1 received");
    for (const address of given[0]!) expect(ping(two, address)).toContain("1 received");
    for (const address of given.flat()) expect(ping(host, address)).toContain("1 received");
    for (const address of dualStackFacts.nodeAddresses) {
      expect(ping(one, address)).toContain("1 received");
    }
    // Nobody had to ask for a MAC, and the pod made no address of its own.
    expect(one.run("ip", "neighbor")).not.toMatch(/REACHABLE|STALE|DELAY/);
    expect(one.run("ip", "-6", "address", "show", "dev", "eth0", "scope", "link")).toBe("");
  });

  // One packet each, sent in the moment of ADD's answer: by chance some would arrive, not sixty.
  test("take the node's very first packet", async () => {
    for (let i = 0; i < 30; i++) {
      for (const address of addressesOf(await add(requestFor(createSandbox())))) {
        using socket = openUdp(host, address);
        await vi.waitFor(() => expect(socket.error()).toBe("ECONNREFUSED"), {
          timeout: 30_000,
          interval: 1,
        });
      }
    }
  });

  test("leave nothing behind", async () => {
    const sandboxes = [createSandbox(), createSandbox()];
    for (const sandbox of sandboxes) await add(requestFor(sandbox));
    for (const sandbox of sandboxes) await del(requestFor(sandbox));
    expect(node.leftovers()).toEqual([]);
    for (const sandbox of sandboxes) expect(sandbox.run("ip", "-o", "link")).toMatch(/^1: lo.*\n$/);
    expect(host.run("ip", "neighbor")).toBe("");
  });
});

test("a pod cannot send from an address that is not its own", async () => {
  const [one, two] = [createSandbox(), createSandbox()];
  await add(requestFor(one));
  const [victim] = addressesOf(await add(requestFor(two)));
  one.run("ip", "address", "add", "10.244.1.99/32", "dev", "eth0");
  expect(() => ping(one, victim!, "-W0.2", "-I", "10.244.1.99")).toThrow("Command failed");
  expect(host.run("nstat", "-az", "TcpExtIPReversePathFilter")).toMatch(/PathFilter +1 /);
});

describe("a repeated ADD", () => {
  test("gives the same result and touches nothing", async () => {
    const sandbox = createSandbox();
    const first = await add(requestFor(sandbox));
    const state = host.run("ip", "-d", "link");
    expect(await add(requestFor(sandbox))).toEqual(first);
    expect(host.run("ip", "-d", "link")).toBe(state);
  });

  test("gives the same addresses when the sandbox was made anew", async () => {
    const sandbox = createSandbox();
    const first = await add(requestFor(sandbox));
    const anew = createSandbox();
    const again = await add({ ...requestFor(sandbox), netns: anew.path });
    expect(addressesOf(again)).toEqual(addressesOf(first));
    expect(ping(host, addressesOf(again)[0]!)).toContain("1 received");
    expect(sandbox.run("ip", "-o", "link")).toMatch(/^1: lo.*\n$/);
  });

  test("right after a DEL waits for the interface that is still being removed", async () => {
    const sandbox = createSandbox();
    const first = await add(requestFor(sandbox));
    await node.handlers.del(requestFor(sandbox), forever);
    const [again] = addressesOf(await add(requestFor(sandbox)));
    expect(again).not.toBe(addressesOf(first)[0]);
    expect(ping(host, again!)).toContain("1 received");
  });
});

describe("a sandbox", () => {
  test("with IPv6 switched off gets it switched on for its interface", async () => {
    const sandbox = createSandbox();
    for (const scope of ["all", "default"]) {
      sandbox.run("sysctl", "-qw", `net.ipv6.conf.${scope}.disable_ipv6=1`);
    }
    const [, address] = addressesOf(await add(requestFor(sandbox)));
    expect(ping(host, address!)).toContain("1 received");
    expect(ping(sandbox, address!)).toContain("1 received");
    expect(sandbox.run("sysctl", "-n", "net.ipv6.conf.all.disable_ipv6")).toBe("1\n");
  });

  test("may have its loopback down", async () => {
    const sandbox = createSandbox();
    sandbox.run("ip", "link", "set", "lo", "down");
    const [address] = addressesOf(await add(requestFor(sandbox)));
    expect(ping(host, address!)).toContain("1 received");
  });

  test("that is the node itself is refused", async () => {
    await expect(add(requestFor(host))).rejects.toMatchObject({ code: CniCode.invalidNetns });
    expect(node.leftovers()).toEqual([]);
  });

  test("that is no namespace is refused", async () => {
    await expect(add(aRequest({ netns: "/etc/hostname" }))).rejects.toMatchObject({
      code: CniCode.invalidEnvironment,
      message: 'Cannot open CNI_NETNS "/etc/hostname": it is no network namespace',
    });
    expect(node.leftovers()).toEqual([]);
  });

  test("that has the interface already keeps it", async () => {
    const sandbox = createSandbox();
    sandbox.run("ip", "link", "add", "eth0", "type", "bridge");
    const before = sandbox.run("ip", "-o", "link");
    await expect(add(requestFor(sandbox))).rejects.toMatchObject({ code: CniCode.interfaceTaken });
    expect(sandbox.run("ip", "-o", "link")).toBe(before);
    expect(node.leftovers()).toEqual([]);
  });
});

test("an index that is taken is drawn again, and its holder keeps no trace", async () => {
  const draws = [1, 2, 1, 3, 4, 5];
  const unlucky = stack.use(createNode(kernel, { random: { below: () => draws.shift()! } }));
  const [one, two] = [createSandbox(), createSandbox()];
  await unlucky.handlers.add(requestFor(one), forever);
  const before = host.run("ip", "neighbor", "show", "dev", hostInterfaceName(requestFor(one).key));
  await unlucky.handlers.add(requestFor(two), forever);
  expect(draws).toEqual([]);
  expect(host.run("ip", "neighbor", "show", "dev", hostInterfaceName(requestFor(one).key))).toBe(
    before,
  );
  expect(ping(host, "10.244.1.2")).toContain("1 received");
  expect(ping(host, "10.244.1.3")).toContain("1 received");
});

describe("CHECK", () => {
  const hostDevice = (sandbox: TestNamespace): string => hostInterfaceName(requestFor(sandbox).key);
  const damages: Record<string, (sandbox: TestNamespace) => void> = {
    "a host interface that is gone": (s) => host.run("ip", "link", "del", hostDevice(s)),
    "a host interface that is down": (s) => host.run("ip", "link", "set", hostDevice(s), "down"),
    "a pod interface that is down": (s) => s.run("ip", "link", "set", "eth0", "down"),
    "another MAC": (s) => s.run("ip", "link", "set", "eth0", "address", "02:00:00:00:00:99"),
    "a pod address that is gone": (s) =>
      s.run("ip", "address", "del", "10.244.1.2/32", "dev", "eth0"),
    "a pod IPv6 address that is gone": (s) =>
      s.run("ip", "address", "del", "fd00:10:244:1::2/128", "dev", "eth0"),
    "a default route that is gone": (s) => s.run("ip", "route", "del", "default"),
    "an IPv6 default route that is gone": (s) => s.run("ip", "-6", "route", "del", "default"),
    "a next hop without its neighbor": (s) =>
      s.run("ip", "neighbor", "del", "169.254.1.1", "dev", "eth0"),
    "a host route that is gone": () => host.run("ip", "route", "del", "10.244.1.2"),
    "a host IPv6 route that is gone": () =>
      host.run("ip", "-6", "route", "del", "fd00:10:244:1::2"),
    "a host neighbor that is gone": (s) =>
      host.run("ip", "neighbor", "del", "10.244.1.2", "dev", hostDevice(s)),
  };

  test.each(Object.entries(damages))("names %s", async (_name, damage) => {
    const sandbox = createSandbox();
    const request = requestFor(sandbox);
    const prevResult = await add(request);
    const checked = { ...request, conf: { ...request.conf, prevResult } };
    await node.handlers.check(checked, forever);
    damage(sandbox);
    await expect(node.handlers.check(checked, forever)).rejects.toMatchObject({
      code: CniCode.checkFailed,
    });
  });

  test("tolerates what later plugins add", async () => {
    const sandbox = createSandbox();
    const request = requestFor(sandbox);
    const prevResult = await add(request);
    sandbox.run("ip", "link", "add", "net1", "type", "bridge");
    sandbox.run("ip", "address", "add", "192.0.2.77/32", "dev", "eth0");
    sandbox.run("ip", "route", "add", "198.51.100.0/24", "dev", "eth0");
    await node.handlers.check({ ...request, conf: { ...request.conf, prevResult } }, forever);
  });
});

test("a lease that was lost is restored by the daemon's sweep, and its pod runs on", async () => {
  const [alive, next] = [createSandbox(), createSandbox()];
  const addresses = addressesOf(await add(requestFor(alive)));
  rmSync(join(node.directory, "networks/fairlead"), { recursive: true });
  await node.handlers.sweep(forever);
  const leases = await node.ipam.leases("fairlead");
  expect(leases.map(({ address }) => address)).toEqual(addresses);
  await add(requestFor(next));
  for (const address of addresses) expect(ping(host, address)).toContain("1 received");
});

describe("what is left of a sandbox that died", () => {
  test("goes with DEL", async () => {
    const sandbox = createSandbox();
    await add(requestFor(sandbox));
    sandbox[Symbol.dispose]();
    await del({ ...requestFor(sandbox), netns: "" });
    expect(node.leftovers()).toEqual([]);
    await del(requestFor(sandbox));
  });

  test("goes with the daemon's sweep, which leaves the living", async () => {
    const [dead, alive] = [createSandbox(), createSandbox()];
    await add(requestFor(dead));
    const [address] = addressesOf(await add(requestFor(alive)));
    dead[Symbol.dispose]();
    expect(await node.handlers.sweep(forever)).toEqual({ attachments: 1, interfaces: 0 });
    expect(node.records.list().records.map(({ key }) => key.containerId)).toEqual([alive.name]);
    expect(ping(host, address!)).toContain("1 received");
  });

  test("goes with GC, which leaves what is listed and other networks", async () => {
    const [stale, valid, other] = [createSandbox(), createSandbox(), createSandbox()];
    const ranges = [[{ subnet: cidr("10.9.0.0/24") }]];
    const elsewhere = {
      name: "other",
      ipam: { type: "fairlead-ipam", ranges, routes: [], requestedIps: [] },
    };
    await add(requestFor(stale));
    await add(requestFor(valid));
    await add(requestFor(other, { conf: elsewhere }));
    await node.handlers.gc(
      aNetworkRequest({ validAttachments: [{ containerId: valid.name, ifName: "eth0" }] }),
      forever,
    );
    expect(stale.run("ip", "-o", "link")).toMatch(/^1: lo.*\n$/);
    expect(
      node.records
        .list()
        .records.map(({ key }) => key.containerId)
        .sort(),
    ).toEqual([valid.name, other.name].sort());
    expect((await node.ipam.leases("fairlead")).map(({ containerId }) => containerId)).toEqual([
      valid.name,
      valid.name,
    ]);
  });
});

describe("addresses of a delegated plugin, host-local of the reference plugins,", () => {
  const delegated = (sandbox: TestNamespace, command: string): AttachmentRequest => {
    const ipam = {
      type: "host-local",
      dataDir: join(node.directory, "host-local"),
      subnet: "10.7.0.0/24",
      routes: [{ dst: "0.0.0.0/0" }],
    };
    const raw = { cniVersion: "1.0.0", name: "delegated", type: "fairlead", ipam };
    const request = requestFor(sandbox);
    return {
      ...request,
      key: { ...request.key, network: "delegated" },
      conf: {
        ...aConf({ cniVersion: "1.0.0", name: "delegated", raw: JSON.stringify(raw) }),
        ipam: { type: "host-local", ranges: [], routes: [], requestedIps: [] },
      },
      environment: {
        CNI_COMMAND: command,
        CNI_CONTAINERID: request.key.containerId,
        CNI_NETNS: request.netns,
        CNI_IFNAME: "eth0",
        CNI_PATH: "/usr/lib/cni",
      },
    };
  };
  const held = (): string[] =>
    readdirSync(join(node.directory, "host-local", "delegated")).filter((name) => /^\d/.test(name));

  test("are attached, checked and given back", async () => {
    const sandbox = createSandbox();
    const result = await add(delegated(sandbox, "ADD"));
    expect(addressesOf(result)).toEqual(["10.7.0.2"]);
    expect(ping(host, "10.7.0.2")).toContain("1 received");
    const { conf, ...checked } = delegated(sandbox, "CHECK");
    await node.handlers.check({ ...checked, conf: { ...conf, prevResult: result } }, forever);
    expect(held()).toEqual(["10.7.0.2"]);
    await del(delegated(sandbox, "DEL"));
    expect(held()).toEqual([]);
    await del(delegated(sandbox, "DEL"));
  });

  test("are given back when a later step fails", async () => {
    const sandbox = createSandbox();
    sandbox.run("ip", "link", "add", "eth0", "type", "bridge");
    await expect(add(delegated(sandbox, "ADD"))).rejects.toMatchObject({
      code: CniCode.interfaceTaken,
    });
    expect(held()).toEqual([]);
    expect(node.records.list().records).toEqual([]);
  });

  test("are asked for anew by a repeated ADD whose sandbox was made anew", async () => {
    const sandbox = createSandbox();
    await add(delegated(sandbox, "ADD"));
    const anew = { ...delegated(sandbox, "ADD"), netns: createSandbox().path };
    const result = await add(anew);
    expect(held()).toEqual(addressesOf(result));
  });
});

test("fifty pods come and go, and nothing of them stays", async () => {
  const sandbox = createSandbox();
  for (let i = 0; i < 50; i++) {
    const request = aRequest({ containerId: `c${i}`, netns: sandbox.path });
    await add(request);
    await del(request);
  }
  expect(node.leftovers()).toEqual([]);
});
