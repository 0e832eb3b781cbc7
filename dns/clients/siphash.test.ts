import { expect, test } from "vitest";
import { sipHash } from "./siphash.ts";

// The vectors of the reference implementation: key and input count up from 0.
test.each([
  [0, "310e0edd47db6f72"],
  [1, "fd67dc93c539f874"],
  [8, "6224939a79f5f593"],
  [15, "e545be4961ca29a1"],
])("sipHash() of %i octets", (length, expected) => {
  const key = Uint8Array.from({ length: 16 }, (_, i) => i);
  const input = Uint8Array.from({ length }, (_, i) => i);
  expect(Buffer.from(sipHash(key, input)).toString("hex")).toBe(expected);
});
