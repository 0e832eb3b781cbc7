import { closeSync, openSync } from "node:fs";
import { expect, test } from "vitest";
import { neighborKind } from "../core/object-kind.ts";
import { ifName, ip, mac } from "../test/support/builders.ts";
import { scriptedCalls } from "../test/support/system-calls.ts";
import type { SystemCalls } from "./ffi.ts";
import { NetlinkSocket } from "./netlink.ts";
import { OffLoopChanges } from "./off-loop-changes.ts";

/** A kernel that has every device, at index 7, and does all that it is told. `sends` counts what it was asked. */
function obligingKernel() {
  const [errorType, linkType] = [2, 16];
  let sequence = 0;
  let sends = 0;
  const system = scriptedCalls({
    send: (_fd, _data, length) => {
      sends++;
      return length;
    },
    recv: (_fd, data) => {
      const reply = Buffer.alloc(36);
      reply.writeUInt32LE(reply.length, 0);
      reply.writeUInt16LE(sends > 0 ? linkType : errorType, 4);
      reply.writeUInt32LE(++sequence, 8);
      if (sends > 0) reply.writeUInt32LE(7, 20);
      data.set(reply);
      return reply.length;
    },
  });
  return { system, sends: () => sends };
}

const put = neighborKind.put({
  device: ifName("fl-vxlan"),
  address: ip("10.9.0.1"),
  mac: mac("02:00:00:00:00:05"),
  isPermanent: true,
});

test("asks for a device once while something is under way, and anew after it", async () => {
  const asked = obligingKernel();
  // What is written off the loop is no system call of ours.
  const written = obligingKernel();
  const fd = openSync("/dev/null", "w");
  const system: SystemCalls = { ...written.system, send: (_fd, _data, length) => length };
  using lookups = new NetlinkSocket(asked.system, -1);
  using changes = new OffLoopChanges(lookups, () => new NetlinkSocket(system, fd));
  await Promise.all([changes.apply([put]), changes.apply([put]), changes.apply([put])]);
  expect(asked.sends()).toBe(1);
  await changes.apply([put]);
  expect(asked.sends()).toBe(2);
  closeSync(fd);
});
