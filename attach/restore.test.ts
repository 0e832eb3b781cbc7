import { rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { hostInterfaceName } from "../core/names.ts";
import type { FakeKernel } from "../kernel/fake.ts";
import {
  type TestNode,
  aRequest,
  createFakeMachine,
  createNode,
  forever,
} from "../test/attach/fixture.ts";

const args = new Map([
  ["K8S_POD_NAMESPACE", "shop"],
  ["K8S_POD_NAME", "cart"],
]);
let kernel: FakeKernel;
let node: TestNode;
beforeEach(async () => {
  kernel = createFakeMachine();
  node = createNode(kernel);
  await node.handlers.add(aRequest({ args }), forever);
  await node.handlers.add(aRequest({ containerId: "c2" }), forever);
});
afterEach(() => {
  node[Symbol.dispose]();
  kernel[Symbol.dispose]();
});

const c1 = aRequest().key;
const networks = () => join(node.directory, "networks/fairlead");
const file = () => join(networks(), "10.244.1.2");
const holders = async (): Promise<string[]> =>
  (await node.ipam.leases("fairlead")).map(({ address, containerId, ifName }) =>
    [address, containerId, ifName].join(" "),
  );
const whole = ["10.244.1.2 c1 eth0", "10.244.1.3 c2 eth0"];
/** Another process over the same files. */
const restart = (): TestNode => createNode(kernel, {}, node.directory);
const said = (of = node) =>
  of.log.filter(({ message }) => /lease/.test(message)).map(({ message }) => message);
const restore = () => node.handlers.restoreLeases(forever);

describe("sweep()", () => {
  test.each([
    ["removed", () => rmSync(file()), 1],
    // ipam knows whose that file is.
    ["emptied", () => truncateSync(file()), 0],
    ["gone with its directory", () => rmSync(networks(), { recursive: true }), 2],
  ])("restores a running pod's lease that was %s", async (_how, lose, times) => {
    lose();
    const next = restart();
    await next.handlers.sweep(forever);
    expect(await holders()).toEqual(whole);
    expect(said(next)).toEqual(
      Array(times).fill("restored the lease of a pod that runs: it was lost"),
    );
    const { details } = (await next.ipam.inventory("fairlead", forever)).leases[0]!;
    expect(details).toMatchObject({ sandbox: next.records.read(c1)!.sandbox });
  });

  test("says nothing where all is there", async () => {
    await restart().handlers.sweep(forever);
    expect(said()).toEqual([]);
    expect(await holders()).toEqual(whole);
  });
});

describe("LeaseRestorer", () => {
  test("restores while requests are served, with what is known of the pod", async () => {
    rmSync(file());
    expect(await restore()).toBe(1);
    const { leases, resting } = await node.ipam.inventory("fairlead", forever);
    expect(leases).toMatchObject([
      { address: "10.244.1.2", details: { pod: { namespace: "shop", name: "cart" } } },
      { address: "10.244.1.3", details: {} },
    ]);
    expect(resting).toEqual([]);
    expect(await restore()).toBe(0);
    await node.handlers.del(aRequest(), forever);
    expect(await holders()).toEqual(["10.244.1.3 c2 eth0"]);
  });

  test("leaves an address that somebody else holds by now, and says so once", async () => {
    rmSync(file());
    writeFileSync(file(), "other\r\neth0");
    expect(await restore()).toBe(0);
    expect(await restore()).toBe(0);
    expect(await holders()).toEqual(["10.244.1.2 other eth0", "10.244.1.3 c2 eth0"]);
    expect(said()).toEqual(["a pod's address is leased to somebody else"]);
  });

  test("leaves an attachment whose interface is down, gone or another one", async () => {
    rmSync(file());
    const record = node.records.read(c1)!;
    const wiring = { ...record.wired!.wiring, hostIndex: 4_000 };
    node.records.write({ ...record, wired: { ...record.wired!, wiring } });
    expect(await restore()).toBe(0);
    node.records.write(record);
    const device = hostInterfaceName(c1);
    kernel.apply([{ kind: "set-link", device, settings: { isUp: false } }]);
    expect(await restore()).toBe(0);
    kernel.removeSandbox("/run/netns/c1");
    expect(await restore()).toBe(0);
    expect(await holders()).toEqual(["10.244.1.3 c2 eth0"]);
  });

  test("leaves one that a request is at work on, that has no addresses, or of another plugin", async () => {
    rmSync(file());
    {
      using _lock = await node.records.lock(c1, forever);
      expect(await restore()).toBe(0);
    }
    const record = node.records.read(c1)!;
    node.records.write({ ...record, ipam: { type: "host-local" } });
    expect(await restore()).toBe(0);
    const { wired: _, ...bare } = record;
    node.records.write(bare);
    expect(await restore()).toBe(0);
    expect(await holders()).toEqual(["10.244.1.3 c2 eth0"]);
  });
});
