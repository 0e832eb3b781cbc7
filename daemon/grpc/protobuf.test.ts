import { expect, test } from "vitest";
import { encodeMessage, Message } from "./protobuf.ts";

test.each([
  // protobuf.dev, "Encoding": 150 in field 1, "testing" in field 2, the message of 150 in field 3.
  [{ 1: 150 }, "089601"],
  [{ 2: "testing" }, "120774657374696e67"],
  [{ 3: { 1: 150 } }, "1a03089601"],
  [{ 1: -2 }, "08feffffffffffffffff01"],
  [{ 1: true, 2: undefined, 16: "" }, "0801820100"],
  [{ 4: ["a", "b"] }, "220161220162"],
  [{ 7: new Map([["k", "v"]]) }, "3a060a016b120176"],
])("encodeMessage() of %o", (fields, hex) => {
  expect(encodeMessage(fields).toString("hex")).toBe(hex);
});

test("Message reads what encodeMessage() wrote, and skips what nobody asks for", () => {
  const message = new Message(
    encodeMessage({ 1: "é", 2: -7, 3: [{ 1: "a" }, { 1: "b" }], 4: true, 5: { 9: 1 } }),
  );
  expect(message.text(1)).toBe("é");
  expect(message.integer(2)).toBe(-7);
  expect(message.messages(3).map((inner) => inner.text(1))).toEqual(["a", "b"]);
  expect(message.integer(4)).toBe(1);
  expect([message.text(6), message.integer(6), message.messages(6)]).toEqual(["", 0, []]);
  expect(new Message(Buffer.from("0d0100000009020000000000000010ff01", "hex")).integer(2)).toBe(
    255,
  );
});

test.each([
  ["08", "out of range"],
  ["0a05616263", "Cannot read 5 octets"],
  ["0f", "wire type 7"],
  ["08ffffffffffffffffffffff01", "more than 10 octets"],
])("Message refuses %s", (hex, reason) => {
  expect(() => new Message(Buffer.from(hex, "hex"))).toThrow(reason);
});
