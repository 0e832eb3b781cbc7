import { expect, test } from "vitest";
import { type FullnessLevel, fullnessLevel } from "./fullness.ts";

test("fullnessLevel() rises at 80 and 95 per cent, and falls 5 per cent below", () => {
  let level: FullnessLevel = 0;
  const levelAt = (held: number): FullnessLevel => (level = fullnessLevel(level, held, 100));
  const course = [79, 80, 76, 75, 74, 79, 94, 95, 91, 90, 89, 75, 74].map((held) => [
    held,
    levelAt(held),
  ]);
  expect(course).toEqual([
    [79, 0],
    [80, 80],
    [76, 80],
    [75, 80],
    [74, 0],
    [79, 0],
    [94, 80],
    [95, 95],
    [91, 95],
    [90, 95],
    [89, 80],
    [75, 80],
    [74, 0],
  ]);
});

test("fullnessLevel() counts whole addresses of a small pool, and none of an empty one", () => {
  expect([0, 1].map((held) => fullnessLevel(0, held, 1))).toEqual([0, 95]);
  expect(fullnessLevel(0, 4, 5)).toBe(80);
  expect(fullnessLevel(80, 0, 0)).toBe(0);
});
