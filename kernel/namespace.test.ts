import { constants } from "node:os";
import { expect, test } from "vitest";
import { ifName } from "../test/support/builders.ts";
import { scriptedCalls } from "../test/support/system-calls.ts";
import { LinuxNamespace } from "./namespace.ts";
import { NetlinkSocket } from "./netlink.ts";

/** A kernel that has every device, at index 7, until its objects are asked for: then there is none. */
function forgettingKernel(): NetlinkSocket {
  const [errorType, linkType, dumpFlag] = [2, 16, 0x300];
  let isDump = false;
  let sequence = 0;
  const system = scriptedCalls({
    send: (_fd, data, length) => {
      const request = Buffer.from(data.buffer, data.byteOffset, length);
      isDump = (request.readUInt16LE(6) & dumpFlag) === dumpFlag;
      sequence = request.readUInt32LE(8);
      return length;
    },
    recv: (_fd, data) => {
      const reply = Buffer.alloc(36);
      reply.writeUInt32LE(reply.length, 0);
      reply.writeUInt16LE(isDump ? errorType : linkType, 4);
      reply.writeUInt32LE(sequence, 8);
      if (isDump) reply.writeInt32LE(-constants.errno.ENODEV, 16);
      else reply.writeUInt32LE(7, 20);
      data.set(reply);
      return reply.length;
    },
  });
  return new NetlinkSocket(system, -1);
}

test("of a device that goes while it is read there is nothing", () => {
  using socket = forgettingKernel();
  const namespace = new LinuxNamespace(() => socket);
  const device = ifName("fl-vxlan");
  expect(namespace.neighbors(device)).toEqual([]);
  expect(namespace.fdb(device)).toEqual([]);
  expect(namespace.addresses(device)).toEqual([]);
  expect(namespace.routes({ device })).toEqual([]);
});
