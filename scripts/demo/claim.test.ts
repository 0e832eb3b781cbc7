import { expect, test } from "vitest";
import { formatClaims, formatTimes, type Paint } from "./claim.ts";

const plain: Paint = (_style, text) => text;

test("formatClaims() has a line for each, and what is long once more in full", () => {
  const long = "x".repeat(120);
  const text = formatClaims(
    [
      { text: "water is wet", seen: "it is", isTrue: true },
      { text: "fire is cold", seen: long, isTrue: false },
    ],
    plain,
  );
  expect(text.split("\n")).toEqual([
    "        CLAIM         SEEN",
    "ok      water is wet  it is",
    `FAILED  fire is cold  ${"x".repeat(90)}…`,
    "",
    "fire is cold:",
    `  ${long}`,
    "",
  ]);
});

test("formatTimes() gives extremes and median, in milliseconds", () => {
  expect(formatTimes([3, 1, 2.26])).toBe("1.0 / 2.3 / 3.0 ms (fastest / median / slowest)");
});
