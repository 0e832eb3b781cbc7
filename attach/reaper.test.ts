import { beforeEach, describe, expect, test } from "vitest";
import type { Ip } from "../core/address.ts";
import { KernelError } from "../core/error.ts";
import { type Log, silentLog } from "../core/log.ts";
import type { IfName } from "../core/names.ts";
import { createFakeKernel } from "../kernel/fake.ts";
import { ifName, ip } from "../test/support/builders.ts";
import { type Reaper, createReaper } from "./reaper.ts";

const device = ifName("fl000000000001");
const other = ifName("fl000000000002");
const address = ip("10.244.1.2");

let removal: PromiseWithResolvers<void>;
let reaper: Reaper;
let retired: Promise<void>;
const errors: string[] = [];
beforeEach(() => {
  errors.length = 0;
  removal = Promise.withResolvers();
  const log: Log = { ...silentLog, error: (_fields, message) => void errors.push(message) };
  reaper = createReaper({ ...createFakeKernel(), reap: () => removal.promise }, log);
  retired = reaper.retire(device, [address, ip("fd00::2")]);
});

/** Whether it is still waiting after all that can happen by itself has happened. */
async function isWaiting(promise: Promise<void>): Promise<boolean> {
  let isSettled = false;
  void promise.then(() => (isSettled = true));
  await new Promise(setImmediate);
  return !isSettled;
}

describe("whenGone()", () => {
  const cases: readonly (readonly [string, IfName, readonly Ip[], boolean])[] = [
    ["the name", device, [], true],
    ["one of the addresses", other, [ip("10.244.1.9"), address], true],
    ["nothing", other, [ip("10.244.1.9")], false],
  ];
  test.each(cases)("waits when a removal has %s", async (_what, name, addresses, waits) => {
    const gone = reaper.whenGone(name, addresses);
    expect(await isWaiting(gone)).toBe(waits);
    removal.resolve();
    await gone;
    await retired;
    expect(await isWaiting(reaper.whenGone(device, [address]))).toBe(false);
  });

  test("waits no longer for a removal that failed, which is logged", async () => {
    const gone = Promise.all([reaper.whenGone(device, []), reaper.settled()]);
    removal.reject(new KernelError("remove links", "EBUSY"));
    await expect(retired).rejects.toThrow("EBUSY");
    await gone;
    expect(errors).toEqual(["cannot remove a pod's host interface"]);
  });
});
