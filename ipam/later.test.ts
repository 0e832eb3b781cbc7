// What is put off until after the answer.
import { rmSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { tryLock } from "../kernel/flock.ts";
import {
  type DataDir,
  add,
  createDataDir,
  key,
  never,
  ranges,
} from "../test/ipam/lease-directory.ts";
import type { Ipam } from "./ipam.ts";

let data: DataDir;
let ipam: Ipam;
let left: Disposable[];
beforeEach(() => {
  data = createDataDir();
  left = [];
  ipam = data.open({ putOff: (leftover) => void left.push(leftover) });
});
afterEach(() => data[Symbol.dispose]());

const small = ranges("10.1.2.0/29");
const finish = (): void => {
  for (const leftover of left.splice(0)) leftover[Symbol.dispose]();
};
const isLocked = (): boolean => {
  using lock = tryLock(join(data.path, "mynet", "lock"), "exclusive");
  return lock === undefined;
};
const whole = { "10.1.2.2": "one\r\neth0", "last_reserved_ip.0": "10.1.2.2" };

test("is the round robin's place and the mark, with the lock kept", async () => {
  await add(ipam, key("one"), { ranges: small });
  expect(data.addresses()).toContain("10.1.2.2");
  expect(isLocked()).toBe(true);
  finish();
  expect([data.files(), isLocked()]).toEqual([whole, false]);
  await ipam.release(key("one"), never);
  expect(data.addresses()).toEqual([]);
  expect(isLocked()).toBe(true);
  finish();
  expect(isLocked()).toBe(false);
});

test("is done before the next request, and while another waits not put off", async () => {
  await add(ipam, key("one"), { ranges: small });
  await Promise.all(["two", "three"].map((id) => add(ipam, key(id), { ranges: small })));
  // Of the first, which was finished for the second, and of the third, for which nobody waited.
  expect(left).toHaveLength(2);
  finish();
  expect(data.addresses()).toEqual(["10.1.2.2", "10.1.2.3", "10.1.2.4"]);
  expect(data.files()["last_reserved_ip.0"]).toBe("10.1.2.4");
});

test("hides nothing that another program does meanwhile", async () => {
  await add(ipam, key("one"), { ranges: small });
  finish();
  expect(await ipam.leases("mynet")).toHaveLength(1);
  await add(ipam, key("two"), { ranges: small });
  await new Promise((resolve) => setTimeout(resolve, 20));
  rmSync(join(data.path, "mynet", "10.1.2.2"));
  finish();
  expect((await ipam.leases("mynet")).map(({ address }) => address)).toEqual(["10.1.2.3"]);
});

test("is found by another process, where it was never done", async () => {
  await add(ipam, key("one"), { ranges: small });
  left[0] = { [Symbol.dispose]: () => {} };
  ipam = openAnother();
  expect(await add(ipam, key("two"), { ranges: small })).toEqual(["10.1.2.3"]);
  expect(data.addresses()).toEqual(["10.1.2.2", "10.1.2.3"]);
});

// As after the death of the process: nobody has the lock.
function openAnother(): Ipam {
  rmSync(join(data.path, "mynet", "lock"));
  return data.open();
}
