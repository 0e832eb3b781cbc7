import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Clock } from "../core/clock.ts";
import { openLock, tryLock } from "./flock.ts";

const clock: Clock = { nowMs: () => Date.now(), monotonicMs: () => performance.now() };
const never = new AbortController().signal;

let directory: string;
let path: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "fairlead-flock-"));
  path = join(directory, "lock");
});
afterEach(() => rmSync(directory, { recursive: true }));

describe("tryLock()", () => {
  test("shares with shared locks, and excludes an exclusive one", () => {
    using one = tryLock(path, "shared");
    using two = tryLock(path, "shared");
    expect([one?.path, two?.path]).toEqual([path, path]);
    expect(tryLock(path, "exclusive")).toBeUndefined();
  });

  test("is free again after dispose", () => {
    const held = tryLock(path, "exclusive");
    expect(tryLock(path, "shared")).toBeUndefined();
    held?.[Symbol.dispose]();
    using again = tryLock(path, "exclusive");
    expect(again).toBeDefined();
  });

  test("closes nothing of somebody else's when it is disposed twice", () => {
    const held = tryLock(path, "exclusive");
    held?.[Symbol.dispose]();
    // Most likely opened under the number that the lock had.
    using next = tryLock(path, "exclusive");
    held?.[Symbol.dispose]();
    expect(next).toBeDefined();
    expect(tryLock(path, "shared")).toBeUndefined();
  });

  test("locks a new file once the holder has removed the old one", () => {
    const held = tryLock(path, "exclusive");
    rmSync(path);
    held?.[Symbol.dispose]();
    using again = tryLock(path, "exclusive");
    expect(again).toBeDefined();
    expect(tryLock(path, "exclusive")).toBeUndefined();
  });

  test("names the file and the errno when it cannot be opened", () =>
    expect(() => tryLock(join(directory, "none", "lock"), "shared")).toThrow(
      /^Cannot open the lock ".*\/none\/lock": ENOENT$/,
    ));
});

describe("openLock()", () => {
  test("waits until the holder lets go", async () => {
    const held = tryLock(path, "exclusive");
    const waiting = openLock(path, "exclusive", { deadlineMs: 5000, clock, signal: never });
    setTimeout(() => held?.[Symbol.dispose](), 20);
    using lock = await waiting;
    expect(lock.path).toBe(path);
  });

  test("takes the new file's lock when the holder removes the file it waits for", async () => {
    const held = tryLock(path, "exclusive");
    const waiting = openLock(path, "exclusive", { deadlineMs: 5000, clock, signal: never });
    rmSync(path);
    held?.[Symbol.dispose]();
    using lock = await waiting;
    expect(lock.path).toBe(path);
    expect(tryLock(path, "exclusive")).toBeUndefined();
  });

  test("keeps no file open when it gives up", async () => {
    using held = tryLock(path, "exclusive");
    expect(held).toBeDefined();
    const openFiles = (): number => readdirSync("/proc/self/fd").length;
    const before = openFiles();
    const wait = { deadlineMs: 3, clock, signal: never };
    const waiting = Array.from({ length: 20 }, () => openLock(path, "exclusive", wait));
    await Promise.allSettled(waiting);
    expect(openFiles()).toBeLessThan(before + 20);
  });

  test("gives up at the deadline", async () => {
    using held = tryLock(path, "shared");
    expect(held).toBeDefined();
    await expect(
      openLock(path, "exclusive", { deadlineMs: 30, clock, signal: never }),
    ).rejects.toMatchObject({ errno: "ETIMEDOUT" });
  });

  test("stops when aborted", async () => {
    using held = tryLock(path, "exclusive");
    expect(held).toBeDefined();
    const controller = new AbortController();
    const waiting = openLock(path, "shared", {
      deadlineMs: 5000,
      clock,
      signal: controller.signal,
    });
    controller.abort();
    await expect(waiting).rejects.toThrow(/abort/i);
  });
});
