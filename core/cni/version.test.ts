import { expect, test } from "vitest";
import { compareVersions, isSupportedVersion, parseVersion } from "./version.ts";

test.each([
  ["1.2.34", "1.2.14", 1],
  ["2.5.4", "2.4.4", 1],
  ["0.4.0", "0.3.1", 1],
  ["1.1.1", "1.1.0", 1],
  ["1.0", "1.0.0", 0],
  ["0.10.0", "0.9.0", 1],
])("compareVersions() of %s and %s is by number (disp-84, disp-85)", (a, b, sign) => {
  expect(Math.sign(compareVersions(parseVersion(a)!, parseVersion(b)!))).toBe(sign);
  expect(Math.sign(compareVersions(parseVersion(b)!, parseVersion(a)!))).toBe(
    sign === 0 ? 0 : -sign,
  );
});

test.each(["", "a", "1.", ".1", "1.2.3.4", "1.-2.3", "1.2.x", " 1.0.0"])(
  "parseVersion() refuses %j",
  (text) => expect(parseVersion(text)).toBeUndefined(),
);

test("isSupportedVersion() goes by exact text", () => {
  expect(isSupportedVersion("1.0.0")).toBe(true);
  expect(isSupportedVersion("1.0")).toBe(false);
});
