/** Time as a parameter, so that a test steps it. */
export interface Clock {
  /** Wall clock, milliseconds since 1970. May jump. */
  nowMs(): number;
  /** Monotonic, milliseconds from an arbitrary start: for deadlines and durations. */
  monotonicMs(): number;
}

/** Randomness as a parameter, so that a seed replays a run. */
export interface Random {
  /** A whole number, 0 <= n < limit. */
  below(limit: number): number;
}
