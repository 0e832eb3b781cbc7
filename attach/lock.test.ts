import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
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
