import { expect, test } from "vitest";
import { errnoName } from "./errno.ts";

test.each([
  [-17, "EEXIST"],
  [-85, "ERESTART"],
  [-524, "ENOTSUPP"],
])("errnoName(%i) is %s, also where libuv has no name", (negative, name) =>
  expect(errnoName(negative)).toBe(name),
);
