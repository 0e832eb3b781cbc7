// Which problems are told as events: those that last, each once in a while, and few altogether. Pure.

import type { EventBudget } from "../source/source.ts";

export const usualBudget: EventBudget = {
  lastingMs: 30_000,
  againMs: 3_600_000,
  most: 10,
  windowMs: 600_000,
};

/** Of more problems than this the rest is not looked at. */
const followedMax = 200;

export class EventChoice {
  readonly #budget: EventBudget;
  readonly #since = new Map<string, number>();
  readonly #told = new Map<string, number>();
  #lately: readonly number[] = [];

  constructor(budget: EventBudget) {
    this.#budget = budget;
  }

  /** @param present the problems there are now. @param nowMs monotonic. @returns those to tell now. */
  choose(present: readonly string[], nowMs: number): readonly string[] {
    const { lastingMs, againMs, most, windowMs } = this.#budget;
    const followed = new Set(present.slice(0, followedMax));
    for (const known of this.#since.keys()) if (!followed.has(known)) this.#since.delete(known);
    for (const [known, at] of this.#told) if (nowMs - at >= againMs) this.#told.delete(known);
    this.#lately = this.#lately.filter((at) => nowMs - at < windowMs);
    const due: string[] = [];
    for (const problem of followed) {
      const since = this.#since.get(problem) ?? nowMs;
      this.#since.set(problem, since);
      if (nowMs - since < lastingMs || this.#told.has(problem)) continue;
      if (this.#lately.length >= most) break;
      this.#told.set(problem, nowMs);
      this.#lately = [...this.#lately, nowMs];
      due.push(problem);
    }
    return due;
  }
}
