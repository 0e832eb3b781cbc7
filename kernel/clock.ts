import type { Clock } from "../core/clock.ts";

/** The machine's time: what every entry point passes on. */
export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
};
