import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { attachmentHash, hostInterfaceName } from "../core/names.ts";
import type { FakeKernel } from "../kernel/fake.ts";
import {
  type TestNode,
  aNetworkRequest,
  aRequest,
  createFakeMachine,
  createNode,
  forever,
} from "../test/attach/fixture.ts";
import { planBeginning } from "./plan.ts";
import { cidr, mac } from "../test/support/builders.ts";

let kernel: FakeKernel;
let node: TestNode;
beforeEach(() => {
  kernel = createFakeMachine();
  node = createNode(kernel);
});
afterEach(() => node[Symbol.dispose]());

const gc = (validAttachments?: { containerId: string; ifName: string }[]) =>
  node.handlers.gc(
    aNetworkRequest(validAttachments === undefined ? {} : { validAttachments }),
    forever,
  );
const rangesOfNode = { ranges: [[{ subnet: cidr("10.244.1.0/24") }]], requestedIps: [] };
const containers = () => node.records.list().records.map(({ key }) => key.containerId);
const addBoth = async (): Promise<void> => {
  await node.handlers.add(aRequest(), forever);
  await node.handlers.add(aRequest({ containerId: "c2" }), forever);
};

describe("gc()", () => {
  test("removes what is not listed", async () => {
    await addBoth();
    await gc([{ containerId: "c2", ifName: "eth0" }]);
    expect(containers()).toEqual(["c2"]);
    expect((await node.ipam.leases("fairlead")).map((lease) => lease.containerId)).toEqual(["c2"]);
    expect(kernel.link(hostInterfaceName(aRequest().key))).toBeUndefined();
  });

  test("removes everything for an empty list", async () => {
    await addBoth();
    await gc([]);
    expect(node.leftovers()).toEqual([]);
  });

  test("does nothing without a list, and says so", async () => {
    await addBoth();
    await gc();
    expect(containers()).toHaveLength(2);
    expect(node.log.at(-1)?.message).toBe(
      "GC without a list of valid attachments: nothing is done",
    );
  });

  test("leaves another interface of a listed container's only when it is listed too", async () => {
    await node.handlers.add(aRequest(), forever);
    await gc([{ containerId: "c1", ifName: "eth1" }]);
    expect(containers()).toEqual([]);
  });

  test("removes an interface of which nothing tells, unless a request is at work on it", async () => {
    await node.handlers.add(aRequest(), forever);
    const keys = ["c2", "c3"].map((containerId) => aRequest({ containerId }).key);
    using sandbox = kernel.openSandbox("/run/netns/c2");
    for (const [at, key] of keys.entries()) {
      const [hostIndex, podIndex] = [100 + at, 200 + at];
      const wiring = {
        addresses: [],
        routes: [],
        nodeAddresses: [],
        mtu: 1450,
        hostIndex,
        podIndex,
      };
      kernel.apply(planBeginning({ ...key, ifName: `eth${at}` }, wiring, sandbox.fd));
    }
    const [lost = "", busy = ""] = keys.map((key, at) =>
      hostInterfaceName({ ...key, ifName: `eth${at}` }),
    );
    using lock = node.records.tryLockOf(busy);
    expect(lock).toBeDefined();
    await gc([{ containerId: "c1", ifName: "eth0" }]);
    expect(kernel.link(lost)).toBeUndefined();
    expect(kernel.link(busy)).toBeDefined();
    expect(kernel.link(hostInterfaceName(aRequest().key))?.isUp).toBe(true);
  });

  test("leaves other networks alone", async () => {
    const conf = {
      name: "other",
      ipam: {
        type: "fairlead-ipam",
        ranges: [[{ subnet: cidr("10.9.0.0/24") }]],
        routes: [],
        requestedIps: [],
      },
    };
    await node.handlers.add(aRequest({ conf }), forever);
    await gc([]);
    expect(containers()).toEqual(["c1"]);
    expect(await node.ipam.leases("other")).toHaveLength(1);
  });

  test("finds by its lease an attachment whose record is lost", async () => {
    await addBoth();
    node.records.remove(aRequest().key);
    await gc([{ containerId: "c2", ifName: "eth0" }]);
    expect(kernel.link(hostInterfaceName(aRequest().key))).toBeUndefined();
    expect((await node.ipam.leases("fairlead")).map((lease) => lease.containerId)).toEqual(["c2"]);
  });

  test("leaves an attachment that a request is at work on", async () => {
    await addBoth();
    using _lock = await node.records.lock(aRequest().key, forever);
    await gc([]);
    expect(containers()).toEqual(["c1"]);
    expect((await node.ipam.leases("fairlead")).map((lease) => lease.containerId)).toEqual(["c1"]);
  });

  test("leaves an attachment that is made while it waits for the kernel", async () => {
    const lost = aRequest({ containerId: "lost" }).key;
    await node.ipam.reserve({ ...rangesOfNode, key: lost }, forever);
    const device = hostInterfaceName(lost);
    kernel.addDevice({ name: device, mac: mac("02:00:00:00:00:02") });
    const late = aRequest({ containerId: "c2" });
    using other = createNode(
      {
        ...kernel,
        reap: async (devices) => {
          await node.handlers.add(late, forever);
          await kernel.reap(devices);
        },
      },
      {},
      node.directory,
    );
    await other.handlers.gc(aNetworkRequest({ validAttachments: [] }), forever);
    expect(kernel.link(device)).toBeUndefined();
    const leases = await node.ipam.leases("fairlead");
    expect(leases.map(({ containerId }) => containerId)).toEqual(["c2"]);
  });

  test("leaves a lease that a request at work has just been given", async () => {
    const { key } = aRequest();
    using _lock = await node.records.lock(key, forever);
    await node.ipam.reserve({ ...rangesOfNode, key }, forever);
    await gc([]);
    expect(await node.ipam.leases("fairlead")).toHaveLength(1);
  });

  test("goes on after a failure, and reports them together", async () => {
    await addBoth();
    const third = { ...aRequest().key, ifName: "eth1" };
    await node.handlers.add({ ...aRequest(), key: third }, forever);
    for (let i = 0; i < 2; i++) kernel.failNext(({ kind }) => kind === "set-link", "EPERM");
    await expect(gc([])).rejects.toMatchObject({
      message: expect.stringMatching(/network "fairlead": .*EPERM.*; .*EPERM/),
    });
    expect(containers()).toHaveLength(2);
    expect(await node.ipam.leases("fairlead")).toHaveLength(2);
    await gc([]);
    expect(node.leftovers()).toEqual([]);
  });

  test("leaves a file that is no record", async () => {
    await gc([]);
    const file = join(node.directory, "attachments", `${attachmentHash(aRequest().key)}.json`);
    writeFileSync(file, "torn");
    await gc([]);
    expect(node.leftovers()).toEqual([file]);
  });
});

describe("sweep()", () => {
  const sweep = () => node.handlers.sweep(forever);

  test("removes attachments whose sandbox is gone, or another one by now", async () => {
    await addBoth();
    kernel.removeSandbox("/run/netns/c1");
    kernel.removeSandbox("/run/netns/c2");
    kernel.addSandbox("/run/netns/c2");
    expect(await sweep()).toEqual({ attachments: 2, interfaces: 0 });
    expect(node.leftovers()).toEqual([]);
  });

  test("leaves one whose path names another namespace here, while its own lives", async () => {
    await addBoth();
    const record = node.records.read(aRequest().key)!;
    const sandbox = { ...record.sandbox, path: "/run/netns/c2" };
    node.records.write({ ...record, sandbox });
    expect(await sweep()).toEqual({ attachments: 0, interfaces: 0 });
    expect(kernel.link(hostInterfaceName(aRequest().key))).toMatchObject({ isUp: true });
  });

  test("leaves the living, and one whose sandbox only cannot be seen from here", async () => {
    await addBoth();
    const record = node.records.read(aRequest().key)!;
    const path = "/run/user/1000/netns/elsewhere";
    node.records.write({ ...record, sandbox: { ...record.sandbox, path } });
    expect(await sweep()).toEqual({ attachments: 0, interfaces: 0 });
    expect(containers()).toHaveLength(2);
  });

  test("removes interfaces that a DEL took down, and no other that has no record", async () => {
    await addBoth();
    for (const containerId of ["c1", "c2"]) node.records.remove(aRequest({ containerId }).key);
    const down = hostInterfaceName(aRequest().key);
    kernel.apply([{ kind: "set-link", device: down, settings: { isUp: false } }]);
    expect(await sweep()).toEqual({ attachments: 0, interfaces: 1 });
    expect(kernel.link(down)).toBeUndefined();
    expect(kernel.link(hostInterfaceName(aRequest({ containerId: "c2" }).key))).toBeDefined();
  });

  test("leaves a foreign plugin's attachment to GC, which has its configuration", async () => {
    await node.handlers.add(aRequest(), forever);
    const record = node.records.read(aRequest().key)!;
    node.records.write({ ...record, ipam: { type: "host-local" } });
    kernel.removeSandbox("/run/netns/c1");
    expect(await sweep()).toEqual({ attachments: 0, interfaces: 0 });
    expect(containers()).toEqual(["c1"]);
  });

  test("leaves what it cannot read, and says so", async () => {
    await node.handlers.add(aRequest(), forever);
    const device = hostInterfaceName(aRequest().key);
    kernel.apply([{ kind: "set-link", device, settings: { isUp: false } }]);
    const [file] = node.leftovers();
    writeFileSync(file!, '{"version":2}');
    expect(await sweep()).toEqual({ attachments: 0, interfaces: 0 });
    expect(kernel.link(device)).toBeDefined();
    expect(node.log.map(({ message }) => message)).toEqual([
      "attachment record is unreadable: left alone",
    ]);
  });
});
