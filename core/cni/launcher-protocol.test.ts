import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  ProtocolError,
  decodeReply,
  decodeRequest,
  encodeReply,
  encodeRequest,
  limits,
  requestLength,
} from "./launcher-protocol.ts";

const request = {
  program: "fairlead" as const,
  environment: { CNI_COMMAND: "ADD", CNI_ARGS: "A=b=c", EMPTY: "" },
  stdin: Buffer.from('{"name":"x"}'),
  netnsFd: 5,
};
const reply = { exitStatus: 1, stdout: '{"code":7}', stderr: "é\n" };

describe("a launcher's request", () => {
  test("is decoded as it was encoded", () => {
    expect(decodeRequest(encodeRequest(request))).toEqual(request);
  });

  test("may have no environment, input or sandbox", () => {
    const empty = {
      program: "fairlead-ipam" as const,
      environment: {},
      stdin: Buffer.alloc(0),
      netnsFd: undefined,
    };
    expect(decodeRequest(encodeRequest(empty))).toEqual(empty);
  });

  test("tells its length as soon as the header is there", () => {
    const frame = encodeRequest(request);
    expect(requestLength(frame.subarray(0, 19))).toBeUndefined();
    expect(requestLength(frame.subarray(0, 20))).toBe(frame.length);
    expect(requestLength(Buffer.alloc(0))).toBeUndefined();
  });

  test("takes the first of a repeated variable, and skips what is none", () => {
    const frame = encodeRequest({ ...request, environment: { X: "1\0X=2\0junk\0=odd" } });
    expect(decodeRequest(frame).environment).toEqual({ X: "1" });
  });

  test.each([
    ["of another program", (frame: Buffer) => frame.write("GET ")],
    ["of another version", (frame: Buffer) => frame.writeUInt32LE(2, 4)],
    ["with too much environment", (f: Buffer) => f.writeUInt32LE(limits.environment + 1, 12)],
    ["with too much input", (frame: Buffer) => frame.writeUInt32LE(limits.stdin + 1, 16)],
  ])("%s is refused by its header", (_, spoil) => {
    const frame = encodeRequest(request);
    spoil(frame);
    expect(() => requestLength(frame.subarray(0, 20))).toThrow(ProtocolError);
    expect(() => decodeRequest(frame)).toThrow(ProtocolError);
  });

  test("that is shorter or longer than it says is refused", () => {
    const frame = encodeRequest(request);
    expect(() => decodeRequest(frame.subarray(0, -1))).toThrow(ProtocolError);
    expect(() => decodeRequest(Buffer.concat([frame, Buffer.from("x")]))).toThrow(ProtocolError);
  });

  test("of an unknown sender never throws but a ProtocolError", () => {
    const anyFrame = fc.oneof(
      fc.uint8Array({ maxLength: 64 }),
      fc
        .uint8Array({ maxLength: 64 })
        .map((tail) => [...encodeRequest(request).subarray(0, 8), ...tail]),
    );
    fc.assert(
      fc.property(anyFrame, (bytes) => {
        try {
          decodeRequest(Buffer.from(bytes));
        } catch (error) {
          expect(error).toBeInstanceOf(ProtocolError);
        }
      }),
    );
  });
});

describe("a reply to the launcher", () => {
  test.each([reply, { exitStatus: 0, stdout: "", stderr: "" }, "runLocally" as const])(
    "is decoded as it was encoded: %j",
    (value) => expect(decodeReply(encodeReply(value))).toEqual(value),
  );

  test("that is cut anywhere, or goes on, is refused", () => {
    const frame = encodeReply(reply);
    for (let length = 0; length < frame.length; length++) {
      expect(() => decodeReply(frame.subarray(0, length))).toThrow(ProtocolError);
    }
    expect(() => decodeReply(Buffer.concat([frame, Buffer.from("x")]))).toThrow(ProtocolError);
  });

  test("is not encoded when it is too long", () => {
    const stdout = "x".repeat(limits.stdout + 1);
    expect(() => encodeReply({ ...reply, stdout })).toThrow(ProtocolError);
  });
});
