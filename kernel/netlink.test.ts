// The socket's protocol against a scripted kernel: what a real one does too seldom to wait for.
import { constants } from "node:os";
import { describe, expect, test } from "vitest";
import { scriptedCalls } from "../test/support/system-calls.ts";
import { MessageBatch, align, headerLength } from "./message.ts";
import type { Message } from "./received.ts";
import { NetlinkSocket } from "./netlink.ts";

const errorType = 2;
const doneType = 3;
const flag = { multi: 2, interrupted: 0x10, capped: 0x100, tlvs: 0x200 } as const;

interface Reply {
  readonly type: number;
  readonly flags?: number;
  /** Which message of the last send this answers; -1 is one of an earlier send. */
  readonly to?: number;
  readonly body: Buffer;
}

/** What one recv gives: messages, or a negative errno. */
type Received = readonly Reply[] | number;

/** A kernel that answers by script. `sends` are the messages of each send. */
function scriptedKernel(script: Received[]) {
  const sends: { readonly type: number; readonly flags: number }[][] = [];
  let base = 0;
  const system = scriptedCalls({
    send: (_fd, data, length) => {
      const buffer = Buffer.from(data.buffer, data.byteOffset, length);
      base = buffer.readUInt32LE(8);
      const sent = [];
      for (let at = 0; at < length; at += align(buffer.readUInt32LE(at))) {
        sent.push({ type: buffer.readUInt16LE(at + 4), flags: buffer.readUInt16LE(at + 6) });
      }
      sends.push(sent);
      return length;
    },
    recv: (_fd, data) => {
      const next = script.shift();
      if (next === undefined) throw new Error("the script is over");
      if (typeof next === "number") return next;
      const octets = Buffer.concat(next.map((reply) => encode(reply, base)));
      data.set(octets.subarray(0, data.length));
      return octets.length;
    },
  });
  return { socket: new NetlinkSocket(system, 99), sends, script };
}

function encode({ type, flags = 0, to = 0, body }: Reply, base: number): Buffer {
  const message = Buffer.alloc(align(headerLength + body.length));
  message.writeUInt32LE(headerLength + body.length, 0);
  message.writeUInt16LE(type, 4);
  message.writeUInt16LE(flags, 6);
  message.writeUInt32LE((base + to) >>> 0, 8);
  body.copy(message, headerLength);
  return message;
}

const word = (value: number): Buffer => {
  const buffer = Buffer.alloc(4);
  buffer.writeInt32LE(value);
  return buffer;
};
const errno = constants.errno;
const acknowledgement = (to: number, error = 0, text = ""): Reply => {
  const tlv = Buffer.alloc(text === "" ? 0 : align(4 + text.length + 1));
  if (text !== "") {
    tlv.writeUInt16LE(4 + text.length + 1, 0);
    tlv.writeUInt16LE(1, 2);
    tlv.write(text, 4);
  }
  const flags = flag.capped | (text === "" ? 0 : flag.tlvs);
  const body = Buffer.concat([word(-error), Buffer.alloc(headerLength), tlv]);
  return { type: errorType, flags, to, body };
};
const object = (value: number, flags: number = flag.multi): Reply => ({
  type: 24,
  flags,
  body: word(value),
});
const done = (flags: number = flag.multi, error = 0): Reply => ({
  type: doneType,
  flags,
  body: word(-error),
});

const batchOf = (count: number): MessageBatch => {
  const batch = new MessageBatch();
  for (let i = 0; i < count; i++) batch.message(100, 0, () => batch.u32(i));
  return batch;
};
const decode = (message: Message): number => message.u32(0);

describe("send()", () => {
  test("asks only the last message for an acknowledgement", () => {
    const { socket, sends } = scriptedKernel([[acknowledgement(2)]]);
    expect(socket.send(batchOf(3))).toEqual([]);
    expect(sends[0]?.map(({ flags }) => flags)).toEqual([1, 1, 5]);
  });

  test("gathers failures with the kernel's words, over several receives", () => {
    const { socket } = scriptedKernel([
      [acknowledgement(0, errno.EEXIST), acknowledgement(1, errno.EINVAL, "Invalid prefix")],
      [acknowledgement(2)],
    ]);
    expect(socket.send(batchOf(3))).toEqual([
      { index: 0, errno: "EEXIST", kernelMessage: "" },
      { index: 1, errno: "EINVAL", kernelMessage: "Invalid prefix" },
    ]);
  });

  test("cuts a large batch so that its failures fit the receive buffer", () => {
    const { socket, sends } = scriptedKernel([
      [acknowledgement(255)],
      [acknowledgement(3, errno.ENODEV), acknowledgement(255)],
      [acknowledgement(87)],
    ]);
    expect(socket.send(batchOf(600))).toEqual([
      { index: 256 + 3, errno: "ENODEV", kernelMessage: "" },
    ]);
    expect(sends.map(({ length }) => length)).toEqual([256, 256, 88]);
  });

  test("passes over what answers an earlier send, and interrupted receives", () => {
    const { socket } = scriptedKernel([
      [acknowledgement(-1, errno.EPERM)],
      -errno.EINTR,
      [acknowledgement(-4, errno.EPERM), acknowledgement(0)],
    ]);
    expect(socket.send(batchOf(1))).toEqual([]);
  });

  test.each([
    [-errno.EAGAIN, "ETIMEDOUT"],
    [-errno.ENOBUFS, "ENOBUFS"],
  ])("throws when the acknowledgement does not come: %i", (result, code) => {
    const { socket } = scriptedKernel([result]);
    expect(() => socket.send(batchOf(1))).toThrow(expect.objectContaining({ errno: code }));
  });

  test("throws when it is closed, without a system call", () => {
    const { socket, sends } = scriptedKernel([]);
    socket[Symbol.dispose]();
    expect(() => socket.send(batchOf(1))).toThrow(expect.objectContaining({ errno: "EBADF" }));
    expect(sends).toEqual([]);
  });
});

describe("dump()", () => {
  test("gives all objects of all receives", () => {
    const { socket, sends } = scriptedKernel([[object(1), object(2)], [object(3)], [done()]]);
    expect(socket.dump(batchOf(1), decode)).toEqual([1, 2, 3]);
    expect(sends[0]?.[0]?.flags).toBe(0x301);
  });

  test.each([
    ["a message", [object(1, flag.multi | flag.interrupted), done()]],
    ["its end", [object(1), done(flag.multi | flag.interrupted)]],
  ])("is read again when %s says that it was interrupted", (_what, replies) => {
    const { socket, script } = scriptedKernel([replies, [object(8), object(9), done()]]);
    expect(socket.dump(batchOf(1), decode)).toEqual([8, 9]);
    expect(script).toEqual([]);
  });

  test("gives up when it is interrupted each time", () => {
    const interrupted = [done(flag.multi | flag.interrupted)];
    const { socket, sends } = scriptedKernel(Array.from({ length: 100 }, () => interrupted));
    expect(() => socket.dump(batchOf(1), decode)).toThrow(
      expect.objectContaining({ errno: "EINTR" }),
    );
    expect(sends).toHaveLength(16);
  });

  test("throws the error that its end carries", () => {
    const { socket } = scriptedKernel([[object(1), done(flag.multi, errno.EPERM)]]);
    expect(() => socket.dump(batchOf(1), decode)).toThrow(
      expect.objectContaining({ errno: "EPERM" }),
    );
  });

  test("is read to its end when an object cannot be decoded", () => {
    const { socket, script } = scriptedKernel([[object(1)], [object(2)], [done()]]);
    const refuse = (message: Message): number => message.u32(4);
    expect(() => socket.dump(batchOf(1), refuse)).toThrow(
      expect.objectContaining({ errno: "EBADMSG" }),
    );
    expect(script).toEqual([]);
  });
});

describe("get()", () => {
  test("gives the object, or undefined when there is none", () => {
    const { socket } = scriptedKernel([
      [object(5, 0)],
      [acknowledgement(0, errno.ENODEV)],
      [acknowledgement(0, errno.EPERM, "no")],
    ]);
    expect(socket.get(batchOf(1), decode)).toBe(5);
    expect(socket.get(batchOf(1), decode)).toBeUndefined();
    expect(() => socket.get(batchOf(1), decode)).toThrow(
      expect.objectContaining({ errno: "EPERM", kernelMessage: "no" }),
    );
  });

  test("refuses a message that is longer than the buffer", () => {
    const { socket } = scriptedKernel([[{ type: 24, body: Buffer.alloc(70_000) }]]);
    expect(() => socket.get(batchOf(1), decode)).toThrow(
      expect.objectContaining({ errno: "EMSGSIZE" }),
    );
  });
});

describe("transact()", () => {
  test("asks the message before the end for an acknowledgement", () => {
    const { socket, sends } = scriptedKernel([[acknowledgement(2)]]);
    expect(socket.transact(batchOf(4))).toBeUndefined();
    expect(sends[0]?.map(({ flags }) => flags)).toEqual([1, 1, 5, 1]);
  });

  test("gives the first failure, and waits for no more after one of the whole", () => {
    const { socket, script } = scriptedKernel([
      [acknowledgement(1, errno.ENOENT), acknowledgement(2, errno.EINVAL)],
      [acknowledgement(0, 85)],
    ]);
    expect(socket.transact(batchOf(4))).toMatchObject({ index: 1, errno: "ENOENT" });
    expect(socket.transact(batchOf(4))).toMatchObject({ index: 0, errno: "ERESTART" });
    expect(script).toEqual([]);
  });
});

describe("drain()", () => {
  const drained = (script: Received[]) => {
    const types: number[] = [];
    const { socket } = scriptedKernel(script);
    return { ...socket.drain(({ type }) => types.push(type)), types };
  };

  test("reads until there is no more", () =>
    expect(drained([[object(1), object(2)], [object(3)], -errno.EAGAIN])).toEqual({
      isLost: false,
      isEmpty: true,
      types: [24, 24, 24],
    }));

  test("says that some were lost, and goes on", () =>
    expect(drained([-errno.ENOBUFS, [object(1)], -errno.EAGAIN])).toEqual({
      isLost: true,
      isEmpty: true,
      types: [24],
    }));
});
