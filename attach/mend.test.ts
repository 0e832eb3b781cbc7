import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { CniCode } from "../core/cni/error.ts";
import { type Applied, describeApplied } from "../core/finding.ts";
import { formatChange } from "../core/format-change.ts";
import { hostInterfaceName, routeProtocol } from "../core/names.ts";
import type { Change } from "../core/network.ts";
import type { FakeKernel } from "../kernel/fake.ts";
import {
  aRequest,
  createFakeMachine,
  createNode,
  dualStackFacts,
  facts,
  forever,
  type TestNode,
} from "../test/attach/fixture.ts";
import { ifName, ip, mac } from "../test/support/builders.ts";
import { Unmended } from "./unmended.ts";

let kernel: FakeKernel;
let node: TestNode;
beforeEach(() => {
  kernel = createFakeMachine();
  node = createNode(kernel);
});
afterEach(() => node[Symbol.dispose]());

const { key } = aRequest();
const device = hostInterfaceName(key);
const state = () => ({
  link: kernel.link(device),
  routes: kernel.routes({ protocol: routeProtocol }),
  neighbors: kernel.neighbors(device),
});
const done = (one: Applied): string => describeApplied(one).done;
const removeRoutes = (): void =>
  kernel.apply(state().routes.map((route) => ({ kind: "remove-route", route }) as const));

test("puts the routes of a pod back", async () => {
  await node.handlers.add(aRequest(), forever);
  const before = state();
  expect(before.routes).toHaveLength(1);
  removeRoutes();
  expect(node.handlers.mend().map(done).join()).toContain("ip route add");
  expect(state()).toEqual(before);
});

test("sets an interface up again, with its routes and neighbors", async () => {
  await node.handlers.add(aRequest(), forever);
  const before = state();
  kernel.apply([{ kind: "set-link", device, settings: { isUp: false } }]);
  expect(state().routes).toEqual([]);
  node.handlers.mend();
  expect(state()).toEqual(before);
});

describe("looks closely at the interfaces that it is told of, and", () => {
  const other = mac("02:00:00:00:00:99");
  const neighbor = () => kernel.neighbors(device)[0]!;
  const route = () => kernel.routes({ device })[0]!;
  const neighborGone = () => ({ kind: "remove-neighbor", neighbor: neighbor() }) as const;

  test.each([
    ["a neighbor that is gone", () => [{ kind: "remove-neighbor", neighbor: neighbor() }]],
    [
      "a neighbor with another MAC",
      () => [{ kind: "replace-neighbor", neighbor: { ...neighbor(), mac: other } }],
    ],
    ["a route that is gone", () => [{ kind: "remove-route", route: route() }]],
    [
      "a route that somebody made his",
      () => [{ kind: "replace-route", route: { ...route(), protocol: 3 } }],
    ],
    ["another MAC", () => [{ kind: "set-link", device, settings: { mac: other } }]],
    ["another MTU", () => [{ kind: "set-link", device, settings: { mtu: 1300 } }]],
    ["a link that is down", () => [{ kind: "set-link", device, settings: { isUp: false } }]],
  ] satisfies [string, () => Change[]][])("puts right %s", async (_, alter) => {
    await node.handlers.add(aRequest(), forever);
    const before = state();
    kernel.apply(alter());
    expect(state()).not.toEqual(before);
    expect(node.handlers.mend(["fl00000000000a"])).toEqual([]);
    expect(node.handlers.mend([device])).not.toEqual([]);
    expect(state()).toEqual(before);
    expect(node.handlers.mend([device])).toEqual([]);
  });

  test("puts IPv6 on again, where the pod has it", async () => {
    const setting = `net/ipv6/conf/${device}/disable_ipv6`;
    await node.handlers.add(aRequest(), forever);
    kernel.writeSysctl(setting, "1");
    expect(node.handlers.mend([device])).toEqual([]);
    using dual = createNode(kernel, { nodeFacts: () => dualStackFacts });
    const other = aRequest({ containerId: "c2" });
    await dual.handlers.add(other, forever);
    const ofOther = `net/ipv6/conf/${hostInterfaceName(other.key)}/disable_ipv6`;
    kernel.writeSysctl(ofOther, "1");
    expect(dual.handlers.mend([hostInterfaceName(other.key)]).map(describeApplied)).toEqual([
      { found: `${ofOther} = 1`, done: `sysctl ${ofOther} = 0` },
    ]);
    expect(kernel.readSysctl(ofOther)).toBe("0");
  });

  test("says what it found, and what it did", async () => {
    await node.handlers.add(aRequest(), forever);
    kernel.apply([{ kind: "replace-neighbor", neighbor: { ...neighbor(), mac: other } }]);
    const [finding] = node.handlers.mend([device]);
    expect(describeApplied(finding!).found).toContain(`lladdr ${other}`);
  });

  test.each([
    ["over another device", { device: ifName("uplink"), protocol: 4 }],
    ["that leads nowhere", { device: ifName("lo"), type: "blackhole" }],
    ["by a router", { device: ifName("uplink"), gateway: ip("192.0.2.9"), onlink: true }],
  ] as const)("takes the place of a route %s", async (_, other) => {
    await node.handlers.add(aRequest(), forever);
    const before = state();
    const { source: _source, ...bare } = route();
    const taken = { ...bare, scope: "global", ...other } as const;
    kernel.apply([{ kind: "replace-route", route: taken }, neighborGone()]);
    expect(kernel.routes({ device: taken.device })).toContainEqual(taken);
    const mended = node.handlers.mend([device]).map(describeApplied);
    expect(mended.map((one) => one.found)).toContain(
      formatChange({ kind: "replace-route", route: taken }),
    );
    expect(mended).toHaveLength(2);
    expect(state()).toEqual(before);
  });

  test("leaves a route that another pod has", async () => {
    await node.handlers.add(aRequest(), forever);
    const other = aRequest({ containerId: "c2" });
    await node.handlers.add(other, forever);
    const taken = { ...route(), device: hostInterfaceName(other.key) };
    kernel.apply([{ kind: "replace-route", route: taken }]);
    expect(node.handlers.mend([device])).toEqual([]);
    expect(kernel.routes({ device: taken.device })).toContainEqual(taken);
  });

  test("gives the routes the node's new address, and keeps that on record", async () => {
    let { nodeAddresses } = facts;
    const readdressed = createNode(kernel, { nodeFacts: () => ({ ...facts, nodeAddresses }) });
    await readdressed.handlers.add(aRequest(), forever);
    nodeAddresses = [ip("192.0.2.7")];
    const [address] = nodeAddresses;
    const uplink = ifName("uplink");
    kernel.apply([
      { kind: "add-address", address: { device: uplink, address: address!, prefixLength: 24 } },
    ]);
    expect(readdressed.handlers.mend([device])).toHaveLength(1);
    expect(route().source).toBe("192.0.2.7");
    expect(readdressed.records.read(key)?.wired?.wiring.nodeAddresses).toEqual(nodeAddresses);
    readdressed[Symbol.dispose]();
  });
});

describe("while the node lacks its address", () => {
  const [nodeAddress] = facts.nodeAddresses;
  const address = { device: ifName("uplink"), address: nodeAddress!, prefixLength: 24 };
  const lose = (): void => kernel.apply([{ kind: "remove-address", address }]);

  test("puts the routes back without it, once, and gives them it when it is back", async () => {
    await node.handlers.add(aRequest(), forever);
    const before = state();
    lose();
    expect(state().routes).toEqual([]);
    expect(node.handlers.mend()).toHaveLength(1);
    const { source: _, ...bare } = before.routes[0]!;
    expect(state()).toEqual({ ...before, routes: [bare] });
    expect(node.handlers.mend()).toEqual([]);
    expect(node.log.filter(({ message }) => message.includes("cannot"))).toEqual([]);
    kernel.apply([{ kind: "add-address", address }]);
    expect(node.handlers.mend()).toHaveLength(1);
    expect(state()).toEqual(before);
  });

  test("puts right what else is wrong", async () => {
    await node.handlers.add(aRequest(), forever);
    const before = state();
    lose();
    kernel.apply([{ kind: "remove-neighbor", neighbor: kernel.neighbors(device)[0]! }]);
    expect(node.handlers.mend([device]).map(done)).toEqual([
      expect.stringContaining("ip route add"),
      expect.stringContaining("ip neighbor replace"),
    ]);
    expect(state().neighbors).toEqual(before.neighbors);
  });

  test("an ADD is asked to come again later", async () => {
    lose();
    await expect(node.handlers.add(aRequest(), forever)).rejects.toMatchObject({
      code: CniCode.tryAgainLater,
      message: expect.stringContaining("has lost an address of its own (it had 192.0.2.1"),
    });
    expect(node.leftovers()).toEqual([]);
  });
});

describe("what the kernel refuses", () => {
  const refuse = () => kernel.failNext(({ kind }) => kind === "add-route", "EPERM", "because");

  test("is named until it is done", async () => {
    await node.handlers.add(aRequest(), forever);
    const before = state();
    removeRoutes();
    for (let i = 0; i < 2; i++) {
      refuse();
      expect(node.handlers.mend()).toEqual([]);
      expect(node.handlers.unmended()).toEqual([
        expect.stringMatching(`^Cannot mend "${device}".*ip route add .*EPERM.*because`),
      ]);
    }
    expect(node.handlers.mend([device])).toHaveLength(1);
    expect(state()).toEqual(before);
    expect(node.handlers.unmended()).toEqual([]);
  });

  test("is named no more when the attachment is gone, or somebody else did it", async () => {
    for (const end of [() => node.handlers.del(aRequest(), forever), async () => {}]) {
      await node.handlers.add(aRequest(), forever);
      const [route] = state().routes;
      removeRoutes();
      refuse();
      node.handlers.mend();
      expect(node.handlers.unmended()).toHaveLength(1);
      kernel.apply([{ kind: "add-route", route: route! }]);
      await end();
      node.handlers.mend();
      expect(node.handlers.unmended()).toEqual([]);
    }
  });

  test("is bounded", () => {
    const unmended = new Unmended();
    for (let i = 0; i < 20; i++) unmended.add(ifName(`fl${i}`), "fairlead:ns/pod", new Error("no"));
    expect(unmended.sentences()).toHaveLength(17);
    expect(unmended.sentences()[0]).toBe('Cannot mend "fl0" (fairlead:ns/pod): no');
    expect(unmended.sentences()[16]).toContain("4 more");
  });
});

test("looks closely at some of those that seem whole, others each time", async () => {
  await node.handlers.add(aRequest(), forever);
  const before = state();
  kernel.apply([{ kind: "remove-neighbor", neighbor: kernel.neighbors(device)[0]! }]);
  node.handlers.mend();
  expect(state()).toEqual(before);
});

test("finds nothing to do where all is whole, and where nothing is attached", async () => {
  expect(node.handlers.mend()).toEqual([]);
  await node.handlers.add(aRequest(), forever);
  expect(node.handlers.mend()).toEqual([]);
});

test("leaves an attachment that a request is at work on", async () => {
  await node.handlers.add(aRequest(), forever);
  removeRoutes();
  using _lock = await node.records.lock(key, forever);
  expect(node.handlers.mend()).toEqual([]);
});

test("leaves an interface that is gone, or another's by now", async () => {
  await node.handlers.add(aRequest(), forever);
  removeRoutes();
  const record = node.records.read(key);
  const { wired } = record ?? {};
  node.records.write({
    ...record!,
    wired: { ...wired!, wiring: { ...wired!.wiring, hostIndex: 7 } },
  });
  expect(node.handlers.mend()).toEqual([]);
  kernel.apply([{ kind: "remove-link", device }]);
  expect(node.handlers.mend()).toEqual([]);
});

describe("a new pod whose MAC a later plugin gave anew", () => {
  const tuned = mac("02:11:22:33:44:55");
  const eth0 = ifName("eth0");
  const tune = (): void => {
    using sandbox = kernel.openSandbox("/run/netns/c1");
    sandbox.apply([{ kind: "set-link", device: eth0, settings: { mac: tuned } }]);
  };
  const podNeighbors = () => {
    using sandbox = kernel.openSandbox("/run/netns/c1");
    return sandbox.neighbors(eth0);
  };

  test("is reached again, without a CHECK", async () => {
    await node.handlers.add(aRequest(), forever);
    const before = podNeighbors();
    tune();
    expect(node.handlers.mend()).toEqual([]);
    expect(podNeighbors()).toEqual(before);
    expect(kernel.neighbors(device).map((neighbor) => neighbor.mac)).toEqual([tuned]);
    expect(kernel.openSandboxes).toBe(0);
  });

  test("is left alone when it is no longer new, at work on, or gone", async () => {
    await node.handlers.add(aRequest(), forever);
    tune();
    {
      using _lock = await node.records.lock(key, forever);
      node.handlers.mend();
      expect(podNeighbors()).toEqual([]);
    }
    const record = node.records.read(key)!;
    node.records.write({ ...record, createdAtMs: record.createdAtMs - 60_000 });
    node.handlers.mend();
    expect(podNeighbors()).toEqual([]);
    node.records.write(record);
    kernel.removeSandbox("/run/netns/c1");
    expect(node.handlers.mend()).toEqual([]);
    kernel.addSandbox("/run/netns/c1");
    expect(node.handlers.mend()).toEqual([]);
    expect(node.log.filter(({ message }) => message.includes("cannot"))).toEqual([]);
  });
});
