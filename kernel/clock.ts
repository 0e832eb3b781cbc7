// The global of this name is a getter, which costs more than the clock itself.
import { performance } from "node:perf_hooks";
import type { Clock } from "../core/clock.ts";

/** The machine's time: what every entry point passes on. */
export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
};

/** As {@link systemClock}, but with one start for all threads: what one of them notes, another can use. */
export const threadsClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => threadStartMs + performance.now(),
};

const threadStartMs = Number(process.hrtime.bigint()) / 1e6 - performance.now();
