import { describe, expect, test } from "vitest";
import { ifName } from "../test/support/builders.ts";
import { shapingOf } from "./shaping.ts";

const device = ifName("eth0");
const shape = (rate: number, burst: number) => {
  const { device: _, ...shaping } = shapingOf(device, { rate, burst }, 1450);
  return shaping;
};

describe("shapingOf()", () => {
  test("is in octets, with 25 ms of waiting behind the burst", () =>
    expect(shape(8_000_000, 800_000)).toEqual({ rate: 1_000_000, burst: 100_000, limit: 125_000 }));

  test("lets a whole packet pass, however small the burst (bw-01)", () =>
    expect(shape(8_000, 80)).toEqual({ rate: 1_000, burst: 1_464, limit: 1_489 }));

  test("gives the largest burst the meaning that runtimes have in mind (bw-13, rt-02)", () => {
    const meant = { rate: 12_500_000, burst: 1_250_000, limit: 1_562_500 };
    expect(shape(100_000_000, 2 ** 32 - 1)).toEqual(meant);
    expect(shape(100_000_000, 8 * (2 ** 32 - 1) - 1)).toEqual(meant);
    expect(shape(100_000_000, 2 ** 32 - 2).burst).toBe(536_870_911);
  });

  test("does not wrap at 32 bits (bw-15)", () => {
    const largest = 2 ** 32 - 1;
    expect(shape(10 ** 12, 8 * 10 ** 8)).toEqual({
      rate: 125_000_000_000,
      burst: 100_000_000,
      limit: 3_225_000_000,
    });
    expect(shape(10 ** 13, 8).limit).toBe(largest);
    expect(shape(Number.MAX_SAFE_INTEGER, 2 ** 32)).toMatchObject({ burst: largest });
  });
});
