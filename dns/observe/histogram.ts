/** Cumulative over the bounds, as Prometheus wants it: how many were at most so large. */
export interface HistogramReading {
  readonly buckets: readonly { readonly atMost: number; readonly count: number }[];
  readonly count: number;
  readonly sum: number;
}

/** In the sum, which is of whole numbers in shared memory: millionths. */
const unit = 1e6;

/** Counts values by fixed bounds, in memory that two threads may share. Costs two additions a value. */
export class Histogram {
  readonly #bounds: readonly number[];
  readonly #values: BigInt64Array;

  /** How many numbers it needs: one for each bound, one for what is above, one for the sum. */
  static length(bounds: readonly number[]): number {
    return bounds.length + 2;
  }

  /** `bounds`: ascending. `values`: {@link Histogram.length} numbers. */
  constructor(bounds: readonly number[], values: BigInt64Array) {
    this.#bounds = bounds;
    this.#values = values;
  }

  observe(value: number): void {
    Atomics.add(this.#values, bucketOf(value, this.#bounds), 1n);
    this.#addToSum(value);
  }

  /** All that was counted elsewhere, by the same bounds. */
  add({ counts, sum }: Tally): void {
    for (const [at, count] of counts.entries()) {
      if (count > 0) Atomics.add(this.#values, at, BigInt(count));
    }
    this.#addToSum(sum);
  }

  #addToSum(value: number): void {
    Atomics.add(this.#values, this.#bounds.length + 1, BigInt(Math.round(value * unit)));
  }

  read(): HistogramReading {
    const counts = Array.from({ length: this.#bounds.length + 1 }, (_, at) =>
      Number(Atomics.load(this.#values, at)),
    );
    let count = 0;
    const cumulative = counts.map((one) => (count += one));
    return {
      buckets: this.#bounds.map((atMost, at) => ({ atMost, count: cumulative[at] ?? 0 })),
      count,
      sum: Number(Atomics.load(this.#values, this.#bounds.length + 1)) / unit,
    };
  }
}

/** Counts values as {@link Histogram} does, in memory of one thread: for it to be told of many together. */
export class Tally {
  readonly counts: Float64Array;
  sum = 0;
  readonly #bounds: readonly number[];

  constructor(bounds: readonly number[]) {
    this.#bounds = bounds;
    this.counts = new Float64Array(bounds.length + 1);
  }

  observe(value: number, times: number): void {
    const at = bucketOf(value, this.#bounds);
    this.counts[at] = (this.counts[at] ?? 0) + times;
    this.sum += value * times;
  }

  clear(): void {
    this.counts.fill(0);
    this.sum = 0;
  }
}

function bucketOf(value: number, bounds: readonly number[]): number {
  let at = 0;
  while (at < bounds.length && value > (bounds[at] ?? Infinity)) at++;
  return at;
}
