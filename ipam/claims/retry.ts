import type { Random } from "../../core/clock.ts";
import { type Steps, wait } from "./step.ts";

/** Tries of one operation before the caller is told that the store does not answer. */
export const mostTries = 6;
const firstDelayMs = 20;

/** Longer with each try, and at random, so that nodes that failed together do not return together. */
export const backOff = (attempt: number, random: Random): Steps<void> =>
  wait(random.below(firstDelayMs << Math.min(attempt, 8)) + 1);
