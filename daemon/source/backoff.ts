// How long to wait after one failure after another: twice as long each time, up to a bound, and a random
// part of it less, so that thousands of nodes do not come back to a server at the same moment.
import type { Random } from "../../core/clock.ts";

export interface BackoffTiming {
  /** After the first failure. */
  readonly firstMs: number;
  readonly mostMs: number;
}

export class Backoff {
  readonly #timing: BackoffTiming;
  readonly #random: Random;
  #failures = 0;

  constructor(timing: BackoffTiming, random: Random) {
    this.#timing = timing;
    this.#random = random;
  }

  /** @param leastMs what the server asked for; counts up to the bound. */
  next(leastMs = 0): number {
    const { firstMs, mostMs } = this.#timing;
    const wait = Math.min(mostMs, firstMs * 2 ** Math.min(this.#failures++, 20));
    // Between half of it and all of it.
    const jittered = wait / 2 + this.#random.below(Math.floor(wait / 2) + 1);
    return Math.max(Math.min(leastMs, mostMs), jittered);
  }

  succeed(): void {
    this.#failures = 0;
  }
}
