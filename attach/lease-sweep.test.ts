import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { silentLog } from "../core/log.ts";
import { hostInterfaceName } from "../core/names.ts";
import type { Ipam } from "../ipam/ipam.ts";
import { momentOf } from "../ipam/lease-memory.ts";
import { openIpam } from "../ipam/store.ts";
import { systemClock } from "../kernel/clock.ts";
import { type FakeKernel, createFakeKernel } from "../kernel/fake.ts";
import { key, never, ranges } from "../test/ipam/lease-directory.ts";
import { TestMachineClocks } from "../test/ipam/machine.ts";
import { mac } from "../test/support/builders.ts";
import { LeaseSweep } from "./lease-sweep.ts";
import { type RecordStore, openRecords } from "./records.ts";

const graceMs = 300_000;
let directory: string;
let machine: TestMachineClocks;
let kernel: FakeKernel;
let ipam: Ipam;
let records: RecordStore;
let live: Set<number> | undefined;
let sweep: LeaseSweep;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "fairlead-lease-sweep-"));
  machine = new TestMachineClocks();
  kernel = createFakeKernel();
  ipam = openIpam({ dataDir: join(directory, "networks"), clock: machine, boot: machine });
  const log = silentLog;
  records = openRecords({ directory: join(directory, "attachments"), clock: systemClock, log });
  live = new Set();
  sweep = new LeaseSweep(
    { ipam, records, kernel, log },
    {
      now: () => momentOf({ clock: machine, boot: machine }),
      liveNamespaces: async () => live,
      graceMs,
    },
  );
});
afterEach(() => {
  kernel[Symbol.dispose]();
  rmSync(directory, { recursive: true });
});

const sandbox = (inode: number) => ({ device: 4, inode, path: `/var/run/netns/${inode}` });
const give = (id: string, inode?: number): Promise<unknown> =>
  ipam.reserve(
    {
      key: key(id),
      ranges: ranges("10.1.2.0/24"),
      requestedIps: [],
      ...(inode !== undefined && { sandbox: sandbox(inode) }),
    },
    never,
  );
const freed = async (): Promise<string[]> =>
  (await sweep.run(never)).map(
    ({ network, containerId, why }) => `${network} ${containerId} ${why}`,
  );
const record = (id: string): void =>
  records.write({
    key: key(id),
    sandbox: sandbox(1),
    ipam: { type: "fairlead-ipam" },
    createdAtMs: 1,
  });

describe("LeaseSweep", () => {
  test("frees what is of an earlier boot, but not what asked again or has a record", async () => {
    for (const id of ["a", "b", "c"]) await give(id, 7);
    machine.reboot("boot-2");
    await give("b", 7);
    live = new Set([7]);
    using _directory = await records.lock(key("c"), never);
    record("c");
    expect(await freed()).toEqual(["mynet a of an earlier boot"]);
    records.remove(key("c"));
    expect(await freed()).toEqual(["mynet c of an earlier boot"]);
    expect(await freed()).toEqual([]);
  });

  test("frees what lost its sandbox, when that is gone for the grace", async () => {
    live = new Set([8]);
    await give("gone", 7);
    await give("lives", 8);
    await give("unknown");
    machine.pass(graceMs);
    expect(await freed()).toEqual([]);
    machine.pass(graceMs - 1);
    expect(await freed()).toEqual([]);
    machine.pass(1);
    expect(await freed()).toEqual(["mynet gone its sandbox is gone"]);
  });

  test("begins anew when the sandbox is seen, or another request came", async () => {
    await give("a", 7);
    await give("b", 7);
    machine.pass(graceMs);
    await freed();
    live = new Set([7]);
    await freed();
    live = new Set();
    machine.pass(graceMs);
    expect(await freed()).toEqual([]);
    machine.pass(1);
    await give("b", 6);
    machine.pass(graceMs - 1);
    expect(await freed()).toEqual(["mynet a its sandbox is gone"]);
  });

  test("keeps everything of this boot where not all processes are seen", async () => {
    live = undefined;
    await give("a", 7);
    machine.pass(graceMs);
    await freed();
    machine.pass(graceMs);
    expect(await freed()).toEqual([]);
  });

  test("keeps the lease of a pod whose interface is there, though its record is lost", async () => {
    await give("a", 7);
    kernel.addDevice({ name: hostInterfaceName(key("a")), mac: mac("02:00:00:00:00:01") });
    machine.pass(graceMs);
    await freed();
    machine.pass(graceMs);
    expect(await freed()).toEqual([]);
  });
});
