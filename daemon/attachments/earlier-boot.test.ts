import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { isFirstSinceReboot, rememberBoot } from "./earlier-boot.ts";

test("a reboot is noticed once, and not where fairlead has never run", () => {
  const path = join(temporaryDirectory(), "state", "boot-id");
  const first = { path, bootId: "aaaa" };
  expect(isFirstSinceReboot(first)).toBe(false);
  rememberBoot(first);
  expect(isFirstSinceReboot(first)).toBe(false);
  const second = { path, bootId: "bbbb" };
  expect(isFirstSinceReboot(second)).toBe(true);
  rememberBoot(second);
  expect(isFirstSinceReboot(second)).toBe(false);
});
