import { expect, test } from "vitest";
import { KernelError, describeError } from "./error.ts";

test.each([
  [new Error("outer", { cause: new Error("inner") }), "outer: inner"],
  [new Error("same", { cause: new Error("same") }), "same"],
  [
    new KernelError('open the lock "/x"', "EACCES", "", {
      cause: new Error("EACCES: permission denied, open '/x'"),
    }),
    "Cannot open the lock \"/x\": EACCES: permission denied, open '/x'",
  ],
  [new Error("outer", { cause: new Error("EACCES: inner") }), "outer: EACCES: inner"],
  ["text", "text"],
  [
    new SuppressedError(new Error("later"), new Error("first", { cause: new Error("why") })),
    "first: why; then, tidying up: later",
  ],
  [
    new Error("outer", { cause: new SuppressedError(new Error("same"), new Error("same")) }),
    "outer: same",
  ],
  [
    new SuppressedError(new Error("3"), new SuppressedError(new Error("2"), new Error("1"))),
    "1; then, tidying up: 2; then, tidying up: 3",
  ],
])("describeError() says each thing once: %s", (thrown, text) => {
  expect(describeError(thrown)).toBe(text);
});

test("describeError() ends, however deep what was suppressed is", () => {
  let nested: unknown = new Error("first");
  for (let i = 0; i < 10_000; i++) nested = new SuppressedError(new Error("again"), nested);
  expect(describeError(nested).length).toBeLessThan(1_000);
});
