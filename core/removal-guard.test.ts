import { describe, expect, test } from "vitest";
import { RemovalGuard } from "./removal-guard.ts";

const graceMs = 300_000;

/** Steps of `[second, peers]`, and what the guard says to each. */
const judge = (found: number, steps: readonly (readonly [number, number])[]): boolean[] => {
  const guard = new RemovalGuard(graceMs);
  return steps.map(([second, peers]) => guard.mayRemove(peers, second * 1000, () => found));
};

describe("RemovalGuard", () => {
  test.each([
    [
      "nodes come, and leave one by one",
      0,
      [
        [0, 10],
        [1, 9],
        [2, 8],
      ],
      [true, true, true],
    ],
    [
      "one of two leaves",
      0,
      [
        [0, 1],
        [1, 0],
      ],
      [true, true],
    ],
    [
      "half of them leave",
      0,
      [
        [0, 10],
        [1, 5],
      ],
      [true, true],
    ],
    [
      "all leave together",
      0,
      [
        [0, 10],
        [1, 0],
        [300, 0],
        [301, 0],
      ],
      [true, false, false, true],
    ],
    [
      "most leave together",
      0,
      [
        [0, 10],
        [1, 4],
      ],
      [true, false],
    ],
    [
      "most leave, one by one, within a minute",
      0,
      [
        [0, 10],
        [9, 8],
        [19, 6],
        [29, 4],
      ],
      [true, true, true, false],
    ],
    [
      "most leave over a longer time",
      0,
      [
        [0, 10],
        [50, 8],
        [100, 6],
        [150, 4],
        [200, 2],
      ],
      [true, true, true, true, true],
    ],
    [
      "they come back",
      0,
      [
        [0, 10],
        [1, 0],
        [2, 9],
        [3, 8],
      ],
      [true, false, true, true],
    ],
    [
      "others come in their place",
      0,
      [
        [0, 10],
        [1, 0],
        [2, 5],
      ],
      [true, false, true],
    ],
    [
      "a few come back",
      0,
      [
        [0, 10],
        [1, 0],
        [2, 4],
        [301, 4],
      ],
      [true, false, false, true],
    ],
    [
      "they are gone at the start, and the kernel has them",
      10,
      [
        [0, 0],
        [300, 0],
      ],
      [false, true],
    ],
    [
      "they are there at the start",
      10,
      [
        [0, 10],
        [1, 9],
      ],
      [true, true],
    ],
    [
      "they leave after a long rest",
      0,
      [
        [0, 10],
        [9000, 0],
      ],
      [true, false],
    ],
    [
      "they leave after what was held has gone",
      0,
      [
        [0, 10],
        [1, 0],
        [301, 0],
        [302, 8],
        [303, 8],
      ],
      [true, false, true, true, true],
    ],
  ] as const)("%s", (_, found, steps, expected) => {
    expect(judge(found, steps)).toEqual(expected);
  });

  test("without a grace nothing is held", () => {
    const guard = new RemovalGuard(0);
    expect([10, 0].map((peers) => guard.mayRemove(peers, 0, () => 10))).toEqual([true, true]);
  });

  test("says what it holds, and until when", () => {
    const guard = new RemovalGuard(graceMs);
    guard.mayRemove(10, 0, () => 0);
    expect(guard.held).toBeUndefined();
    guard.mayRemove(1, 1000, () => 0);
    expect(guard.held).toEqual({ had: 10, wants: 1, untilMs: 301_000 });
    guard.mayRemove(10, 2000, () => 0);
    expect(guard.held).toBeUndefined();
  });
});
