import { expect, test } from "vitest";
import { parseAddressSpan } from "./address-span.ts";

test.each([
  ["10.244.1.7", "10.244.1.7", "10.244.1.7"],
  ["10.244.1.7-10.244.1.9", "10.244.1.7", "10.244.1.9"],
  ["fd00::1 - fd00::ff", "fd00::1", "fd00::ff"],
  ["10.244.1.16/28", "10.244.1.16", "10.244.1.31"],
  ["fd00::/64", "fd00::", "fd00::ffff:ffff:ffff:ffff"],
])("parseAddressSpan() takes %s", (text, first, last) => {
  expect(parseAddressSpan(text)).toEqual({ first, last });
});

test.each([
  "",
  "pod",
  "10.244.1.9-10.244.1.7",
  "10.244.1.7-fd00::1",
  "10.244.1.1-10.244.1.2-10.244.1.3",
  "10.244.1.7-",
  "10.244.1.7/24",
  "10.244.1.0/28-10.244.1.32",
])('parseAddressSpan() refuses "%s"', (text) => {
  expect(parseAddressSpan(text)).toBeUndefined();
});
