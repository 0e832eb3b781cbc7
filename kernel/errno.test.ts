import { expect, test } from "vitest";
import { errnoName } from "./errno.ts";

test.each([
  [-17, "EEXIST"],
  [-85, "ERESTART"],
  [-95, "EOPNOTSUPP"],
  [-524, "ENOTSUPP"],
])("errnoName(%i) is %s, also where libuv has another name or none", (negative, name) =>
  expect(errnoName(negative)).toBe(name),
);
