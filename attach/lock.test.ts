import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { CniCode } from "../core/cni/error.ts";
import { systemClock } from "../kernel/clock.ts";
import { tryLock } from "../kernel/flock.ts";
import {
  aNetworkRequest,
  aRequest,
  createFakeMachine,
  createNode,
  forever,
} from "../test/attach/fixture.ts";
import { openAttachLock, withAttachLock } from "./lock.ts";

let directory: string;
beforeEach(() => (directory = mkdtempSync(join(tmpdir(), "fairlead-lock-"))));
afterEach(() => rmSync(directory, { recursive: true }));

const options = () => ({
  path: join(directory, "run", "attach.lock"),
  clock: systemClock,
  deadlineMs: 30,
});

describe("openAttachLock()", () => {
  test("makes the directory, and lets requests share", async () => {
    using one = await openAttachLock("shared", options(), forever);
    using two = await openAttachLock("shared", options(), forever);
    expect([one.path, two.path]).toEqual([options().path, options().path]);
  });

  test("tells a request that a daemon starts, and the daemon that a request is at work", async () => {
    {
      using _daemon = await openAttachLock("exclusive", options(), forever);
      await expect(openAttachLock("shared", options(), forever)).rejects.toMatchObject({
        code: CniCode.tryAgainLater,
        message: expect.stringContaining("the starting daemon holds it"),
      });
    }
    using _request = await openAttachLock("shared", options(), forever);
    await expect(openAttachLock("exclusive", options(), forever)).rejects.toMatchObject({
      message: expect.stringContaining("a request without the daemon holds it"),
    });
  });
});

test("requests that follow one another let a daemon go first", async () => {
  const stop = new AbortController();
  const stream = (async () => {
    // Each takes the lock in the moment in which the one before it lets it go.
    while (!stop.signal.aborted) {
      using _request = await openAttachLock("shared", { ...options(), deadlineMs: 5_000 }, forever);
      await setTimeout(5);
    }
  })();
  try {
    using daemon = await openAttachLock("exclusive", { ...options(), deadlineMs: 2_000 }, forever);
    expect(daemon.path).toBe(options().path);
  } finally {
    stop.abort();
    await stream;
  }
});

test("a request does not wait for ever behind a daemon that waits for another one", async () => {
  using slow = await openAttachLock("shared", options(), forever);
  const daemon = openAttachLock("exclusive", { ...options(), deadlineMs: 6_000 }, forever);
  using request = await openAttachLock("shared", { ...options(), courtesyMs: 30 }, forever);
  expect(request.path).toBe(options().path);
  slow[Symbol.dispose]();
  request[Symbol.dispose]();
  (await daemon)[Symbol.dispose]();
});

describe("withAttachLock()", () => {
  test("holds the lock for as long as the request lasts", async () => {
    const kernel = createFakeMachine();
    const seen: boolean[] = [];
    using node = createNode(kernel, {
      kernel: {
        ...kernel,
        apply: (changes) => {
          seen.push(tryLock(options().path, "exclusive") === undefined);
          kernel.apply(changes);
        },
      },
    });
    const handlers = withAttachLock(node.handlers, options());
    await handlers.add(aRequest(), forever);
    await handlers.del(aRequest(), forever);
    expect(seen).toEqual([true, true]);
    using free = tryLock(options().path, "exclusive");
    expect(free).toBeDefined();
  });

  test("lets requests be at work side by side", async () => {
    using node = createNode(createFakeMachine());
    const handlers = withAttachLock(node.handlers, options());
    using _other = await openAttachLock("shared", options(), forever);
    expect((await handlers.add(aRequest(), forever)).ips).toHaveLength(1);
  });

  test("lets STATUS answer while a daemon starts", async () => {
    using node = createNode(createFakeMachine());
    const handlers = withAttachLock(node.handlers, options());
    using _daemon = await openAttachLock("exclusive", options(), forever);
    await handlers.status(aNetworkRequest(), forever);
    await expect(handlers.gc(aNetworkRequest(), forever)).rejects.toMatchObject({ code: 11 });
    expect(existsSync(options().path)).toBe(true);
  });
});
