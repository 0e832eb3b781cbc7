import { expect, test } from "vitest";
import { Histogram, Tally } from "./histogram.ts";

const values = (bounds: readonly number[]): BigInt64Array =>
  new BigInt64Array(new SharedArrayBuffer(8 * Histogram.length(bounds)));

test("Histogram counts a value at each bound that it does not pass, as Prometheus' le does", () => {
  const bounds = [0.001, 0.01, 0.1];
  const histogram = new Histogram(bounds, values(bounds));
  for (const value of [0.0005, 0.001, 0.02, 5]) histogram.observe(value);
  expect(histogram.read()).toEqual({
    buckets: [
      { atMost: 0.001, count: 2 },
      { atMost: 0.01, count: 2 },
      { atMost: 0.1, count: 3 },
    ],
    count: 4,
    sum: 5.0215,
  });
});

test("two over the same memory are one", () => {
  const shared = values([1]);
  new Histogram([1], shared).observe(0.25);
  new Histogram([1], shared).observe(2);
  expect(new Histogram([1], shared).read()).toMatchObject({ count: 2, sum: 2.25 });
});

test("a tally is counted as its values by themselves", () => {
  const bounds = [0.001, 0.01, 0.1];
  const [one, other] = [values(bounds), values(bounds)];
  const tally = new Tally(bounds);
  for (let round = 0; round < 2; round++) {
    for (const value of [0.0005, 0.001, 0.02, 5]) {
      tally.observe(value, 2);
      for (let i = 0; i < 2; i++) new Histogram(bounds, one).observe(value);
    }
    new Histogram(bounds, other).add(tally);
    tally.clear();
  }
  expect(other).toEqual(one);
});
