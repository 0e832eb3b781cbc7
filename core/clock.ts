/** Time as a parameter, so that a test steps it. */
export interface Clock {
  /** Wall clock, milliseconds since 1970. May jump. */
  nowMs(): number;
  /** Monotonic, milliseconds from an arbitrary start: for deadlines and durations. */
  monotonicMs(): number;
}

/** Time since the machine started, which is the same for all its processes and never jumps. */
export interface BootClock {
  /** Of this boot: /proc/sys/kernel/random/boot_id. */
  readonly bootId: string;
  /** CLOCK_MONOTONIC, milliseconds since the boot. */
  elapsedMs(): number;
}

/** Randomness as a parameter, so that a seed replays a run. */
export interface Random {
  /** A whole number, 0 <= n < limit. */
  below(limit: number): number;
}
