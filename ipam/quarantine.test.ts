// Freed addresses and when they are given again, over reboots, clocks that jump and other programs.
import { rmSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Ip } from "../core/address.ts";
import { CniCode } from "../core/cni/error.ts";
import { type Log, silentLog } from "../core/log.ts";
import { type DataDir, createDataDir, key, never, ranges } from "../test/ipam/lease-directory.ts";
import { TestMachineClocks } from "../test/ipam/machine.ts";
import { ip } from "../test/support/builders.ts";
import type { Ipam, ReserveRequest } from "./ipam.ts";
import type { IpamOptions } from "./store.ts";

let data: DataDir;
let warnings: string[];
beforeEach(() => {
  data = createDataDir();
  warnings = [];
});
afterEach(() => data[Symbol.dispose]());

const log: Log = { ...silentLog, warn: (_fields, message) => warnings.push(message) };
const small = ranges("10.1.2.0/29");
const pathOf = (address: string): string => join(data.path, "mynet", address);

class Machine extends TestMachineClocks {
  open(options: Partial<IpamOptions> = {}): Ipam {
    return data.open({ clock: this, boot: this, log, ...options });
  }
}
let machine: Machine;
beforeEach(() => void (machine = new Machine()));

const reserve = (ipam: Ipam, id: string, more: Partial<ReserveRequest> = {}): Promise<string[]> =>
  ipam
    .reserve({ key: key(id), ranges: small, requestedIps: [], ...more }, never)
    .then((given) => given.map(({ address }) => address.address));

describe("quarantine", () => {
  const quarantineMs = 60_000;
  const rest = { quarantineMs };

  test("keeps a freed address from being given, until its time has passed", async () => {
    const ipam = machine.open();
    await reserve(ipam, "a", rest);
    await ipam.release(key("a"), never);
    // .3 to .6 come first in any case; then the round robin meets .2 again.
    for (const id of ["b", "c", "d"]) await reserve(ipam, id, rest);
    for (const id of ["b", "c", "d"]) await ipam.release(key(id), never);
    expect(await reserve(machine.open(), "e", rest)).toEqual(["10.1.2.6"]);
    machine.pass(quarantineMs - 1);
    expect(await reserve(machine.open(), "f", rest)).toEqual(["10.1.2.2"]); // only resting ones are left
    machine.pass(1);
    expect(await reserve(machine.open(), "g", rest)).toEqual(["10.1.2.3"]);
  });

  test("gives the one that rests longest when there is no other", async () => {
    const ipam = machine.open();
    for (const id of ["a", "b", "c", "d", "e"]) await reserve(ipam, id, rest);
    for (const id of ["c", "a", "d"]) {
      await ipam.release(key(id), never);
      machine.pass(10);
    }
    expect(await ipam.usage("mynet", { ranges: small }, never)).toMatchObject([
      { held: 2, resting: 3 },
    ]);
    const given: string[][] = [];
    for (const id of ["f", "g", "h"]) given.push(await reserve(ipam, id, rest));
    expect(given.flat()).toEqual(["10.1.2.4", "10.1.2.2", "10.1.2.5"]);
    await expect(reserve(ipam, "i", rest)).rejects.toMatchObject({
      code: CniCode.addressesExhausted,
    });
  });

  test("is host-local's order when there is none", async () => {
    const ipam = machine.open();
    for (const id of ["a", "b", "c", "d", "e"]) await reserve(ipam, id);
    for (const id of ["c", "a", "d"]) await ipam.release(key(id), never);
    const given: string[][] = [];
    for (const id of ["f", "g", "h"]) given.push(await reserve(ipam, id));
    expect(given.flat()).toEqual(["10.1.2.2", "10.1.2.4", "10.1.2.5"]);
  });

  test("does not keep an address from who asks for it, nor from who holds it", async () => {
    const ipam = machine.open();
    await reserve(ipam, "a", rest);
    expect(await reserve(ipam, "a", rest)).toEqual(["10.1.2.2"]);
    await ipam.release(key("a"), never);
    const requestedIps = [ip("10.1.2.2")];
    expect(await reserve(ipam, "b", { ...rest, requestedIps })).toEqual(["10.1.2.2"]);
  });

  test.each([
    ["back", -86_400_000],
    ["ahead", 86_400_000],
  ])("does not heed a clock that jumps %s within a boot", async (_name, jumpMs) => {
    const ipam = machine.open();
    await reserve(ipam, "a", rest);
    await ipam.release(key("a"), never);
    machine.wall += jumpMs;
    machine.pass(quarantineMs - 1);
    const forMs = async () => (await machine.open().inventory("mynet", never)).resting;
    expect(await forMs()).toEqual([{ address: "10.1.2.2", forMs: quarantineMs - 1 }]);
    // Not even of what cannot be: freed later than now.
    machine.elapsed -= quarantineMs;
    expect(await forMs()).toEqual([{ address: "10.1.2.2", forMs: 0 }]);
  });

  test.each([
    ["back", -86_400_000, 5_000],
    ["ahead", 86_400_000, 86_400_000 + 1_800_000 + 10_000],
  ])("is at most as long after a reboot and a clock %s", async (_name, jumpMs, forMs) => {
    const ipam = machine.open();
    await reserve(ipam, "a", rest);
    await ipam.release(key("a"), never);
    machine.pass(10_000);
    machine.reboot("boot-2");
    machine.wall += jumpMs;
    const { resting } = await machine.open().inventory("mynet", never);
    expect(resting).toEqual([{ address: "10.1.2.2", forMs }]);
  });

  test("begins when it is seen that another program freed an address", async () => {
    const ipam = machine.open();
    await reserve(ipam, "a", rest);
    await reserve(ipam, "b", rest);
    rmSync(pathOf("10.1.2.2"));
    machine.pass(5_000);
    expect((await ipam.inventory("mynet", never)).resting).toEqual([
      { address: "10.1.2.2", forMs: 0 },
    ]);
    machine.pass(1_000);
    expect((await machine.open().inventory("mynet", never)).resting).toEqual([
      { address: "10.1.2.2", forMs: 1_000 },
    ]);
  });

  const tracking = (when: "range is full" | "asked to", ...tracked: readonly string[]) => {
    const asked: string[][] = [];
    const trackedAmong = (addresses: readonly Ip[]) => {
      asked.push([...addresses]);
      return new Set(addresses.filter((address) => tracked.includes(address)));
    };
    return { asked, tracking: { trackedAmong, when } };
  };

  test("goes on while connection tracking has something of an address", async () => {
    const { asked, ...options } = tracking("asked to", "10.1.2.2");
    const ipam = machine.open(options);
    for (const id of ["a", "b", "c"]) await reserve(ipam, id, rest);
    for (const id of ["a", "b"]) await ipam.release(key(id), never);
    expect(await ipam.proveRested(9, never)).toBe(0);
    machine.pass(quarantineMs);
    expect(await ipam.proveRested(9, never)).toBe(2);
    expect(asked).toEqual([["10.1.2.2", "10.1.2.3"]]);
    const given: string[][] = [];
    for (const id of ["d", "e", "f"]) given.push(await reserve(ipam, id, rest));
    expect(given.flat()).toEqual(["10.1.2.5", "10.1.2.6", "10.1.2.3"]);
    // The range has no other: it is given all the same.
    expect(await reserve(ipam, "g", rest)).toEqual(["10.1.2.2"]);
    expect(asked).toHaveLength(1);
  });

  test("is not over before somebody looked, while there are others", async () => {
    const ipam = machine.open(tracking("asked to"));
    for (const id of ["a", "b", "c", "d"]) await reserve(ipam, id, rest);
    await ipam.release(key("a"), never);
    machine.pass(quarantineMs);
    expect(await reserve(ipam, "e", rest)).toEqual(["10.1.2.6"]);
    await ipam.release(key("d"), never);
    expect(await ipam.proveRested(9, never)).toBe(1);
    expect(await reserve(ipam, "f", rest)).toEqual(["10.1.2.2"]);
  });

  test("is looked into by a process for one request when the range has no other", async () => {
    const first = machine.open();
    for (const id of ["a", "b", "c", "d"]) await reserve(first, id, rest);
    for (const id of ["a", "b"]) await first.release(key(id), never);
    machine.pass(quarantineMs);
    const { asked, ...options } = tracking("range is full", "10.1.2.2");
    expect(await reserve(machine.open(options), "e", rest)).toEqual(["10.1.2.6"]);
    expect(asked).toEqual([]);
    expect(await reserve(machine.open(options), "f", rest)).toEqual(["10.1.2.3"]);
    expect(asked).toEqual([["10.1.2.2", "10.1.2.3"]]);
  });

  test("ends where connection tracking cannot be asked", async () => {
    const trackedAmong = (): never => {
      throw new Error("no conntrack");
    };
    const ipam = machine.open({ tracking: { trackedAmong, when: "asked to" } });
    await reserve(ipam, "a", rest);
    await ipam.release(key("a"), never);
    machine.pass(quarantineMs);
    expect(await ipam.proveRested(1, never)).toBe(1);
    expect((await ipam.inventory("mynet", never)).resting).toEqual([]);
  });

  test("goes on in a process that has not been asked for an address yet", async () => {
    const first = machine.open();
    for (const id of ["a", "b"]) await reserve(first, id, rest);
    await first.release(key("a"), never);
    const ipam = machine.open(tracking("asked to"));
    const resting = async () => (await ipam.inventory("mynet", never)).resting.length;
    expect(await resting()).toBe(1);
    expect(await ipam.proveRested(9, never)).toBe(0);
    expect(await resting()).toBe(1);
    machine.pass(quarantineMs);
    expect(await ipam.proveRested(9, never)).toBe(1);
    expect(await resting()).toBe(0);
  });
});
