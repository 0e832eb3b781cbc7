import { expect, test } from "vitest";
import { canonicalSets, type Range } from "../../ipam/range.ts";
import { cidr, ip } from "../../test/support/builders.ts";
import { drawBlock } from "./picture.ts";

function rangeOf(subnet: string, ...reserved: readonly (readonly [string, string])[]): Range {
  const withheld = reserved.map(([first, last]) => ({
    first: ip(first),
    last: ip(last),
    reason: "reserved" as const,
  }));
  return canonicalSets({ ranges: [[{ subnet: cidr(subnet) }]], withheld })[0]![0]!;
}
const draw = (range: Range, held: string, quarantined: string, width = 80) =>
  drawBlock({
    range,
    held: held.split(" ").map(ip),
    quarantined: quarantined.split(" ").map(ip),
    width,
  });

test("drawBlock() has a character for each address of a small block", () => {
  const range = rangeOf("10.1.2.0/27", ["10.1.2.8", "10.1.2.10"]);
  expect(draw(range, "10.1.2.2 10.1.2.3 10.1.2.9 10.9.9.9 fd00::1", "10.1.2.4 10.1.2.30")).toEqual({
    perCharacter: 1n,
    lines: ["--##~...x#x...................~-"],
  });
});

test("drawBlock() cuts lines at a power of two that fits", () => {
  const lengths = (width: number) =>
    draw(rangeOf("10.1.2.0/24"), "10.1.2.2", "10.1.2.3", width).lines.map((line) => line.length);
  expect(lengths(200)).toEqual([64, 64, 64, 64]);
  expect(lengths(63)).toEqual(Array(8).fill(32));
  expect(lengths(10)).toEqual(Array(16).fill(16));
});

test("drawBlock() sums up a large block in 256 characters", () => {
  const range = rangeOf("10.1.0.0/22", ["10.1.3.0", "10.1.3.255"]);
  const { perCharacter, lines } = draw(range, "10.1.0.2 10.1.0.3 10.1.0.9", "10.1.0.12");
  expect(perCharacter).toBe(4n);
  expect(lines.join("")).toBe(`#.+~${".".repeat(188)}${"x".repeat(64)}`);
  const huge = draw(rangeOf("fd00::/64"), "fd00::2", "fd00::ffff:0:0:0");
  expect(huge.perCharacter).toBe(2n ** 56n);
  expect(huge.lines.join("")).toBe(`+${".".repeat(254)}~`);
});
