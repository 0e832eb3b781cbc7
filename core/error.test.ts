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
])("describeError() says each thing once: %s", (thrown, text) => {
  expect(describeError(thrown)).toBe(text);
});
