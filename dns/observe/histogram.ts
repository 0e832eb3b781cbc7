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

  observe(value: number, times = 1): void {
    let at = 0;
    while (at < this.#bounds.length && value > (this.#bounds[at] ?? Infinity)) at++;
    Atomics.add(this.#values, at, BigInt(times));
    Atomics.add(this.#values, this.#bounds.length + 1, BigInt(Math.round(value * times * unit)));
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
