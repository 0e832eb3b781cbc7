// When to do the next pass: at once for something new, coalesced in a burst, later and later while
// passes fail, and every now and then in any case.
import type { Clock } from "../../core/clock.ts";

export interface LoopTiming {
  /** From the end of one pass to the start of the next, so that a storm of events costs a bounded share. */
  readonly pauseMs: number;
  /** Whatever events come in between: what was missed, or is not notified, is found then. */
  readonly resyncMs: number;
  /** After the first failure; doubles up to `backoffMaxMs`. */
  readonly backoffMs: number;
  readonly backoffMaxMs: number;
}

/**
 * `news`: something to do that the last pass did not know of. `event`: something was changed. `resync`: it is time
 * to look, whatever else there is to do. `repair`: what was changed is known, and is all that this pass is to
 * deal with; the one that failed is tried again in its time.
 */
export type LoopReason = "news" | "event" | "resync" | "repair";

/**
 * `unfinished`: the event loop is to have its turn, and the pass goes on after that. A promise, which does not
 * reject: likewise, when it resolves.
 */
export type LoopOutcome = "done" | "failed" | "unfinished" | Promise<void>;

/** Runs `pass` again and again, never twice at once. */
export class ReconcileLoop implements Disposable {
  readonly #pass: (reason: LoopReason) => LoopOutcome;
  readonly #clock: Clock;
  readonly #timing: LoopTiming;
  #timer: NodeJS.Timeout | undefined;
  #immediate: NodeJS.Immediate | undefined;
  #dueAtMs = Infinity;
  #reason: LoopReason = "resync";
  #endedAtMs = -Infinity;
  #durationMs = 0;
  /** Of the pass before the last one. */
  #durationBeforeMs = 0;
  /** Of a pass that is not finished. */
  #workedMs = 0;
  /** Infinity before the first pass that is done. */
  #resyncAtMs = Infinity;
  /** Of the pass that is under way. */
  #isResync = false;
  #isUnfinished = false;
  #isBusy = false;
  /** Wanted during a pass. */
  #wanted: LoopReason | undefined;
  #failures = 0;
  /** The end of the back-off. */
  #retryAtMs = -Infinity;
  #isDisposed = false;

  constructor(pass: (reason: LoopReason) => LoopOutcome, clock: Clock, timing: LoopTiming) {
    this.#pass = pass;
    this.#clock = clock;
    this.#timing = timing;
  }

  /**
   * Wants a pass. News ends a back-off, an event waits for it: failing passes cause events too. A repair takes
   * place in it; without one it is an event as others are.
   */
  request(reason: LoopReason): void {
    if (this.#isBusy) {
      if (isBefore(reason, this.#wanted)) this.#wanted = reason;
      return;
    }
    const isBackedOff = this.#failures > 0 && reason !== "news" && reason !== "repair";
    const earliestMs = isBackedOff ? this.#retryAtMs : -Infinity;
    this.#schedule(Math.max(earliestMs, this.#endedAtMs + this.#pause()), reason);
  }

  /** From the end of the last pass, which failed. */
  #backoff(): number {
    const { backoffMs, backoffMaxMs } = this.#timing;
    return Math.min(backoffMaxMs, backoffMs * 2 ** Math.min(this.#failures - 1, 16));
  }

  /**
   * Passes over thousands of nodes may take longer than the pause: then they get a fifth of the time. One alone
   * does not count, as the first is: what comes after it is mostly small. Nor is it ever longer than until a
   * resync: where others have the processor, a pass takes seconds in which it works milliseconds.
   */
  #pause(): number {
    const { pauseMs, resyncMs } = this.#timing;
    const rest = 4 * Math.min(this.#durationMs, this.#durationBeforeMs);
    return Math.max(pauseMs, Math.min(resyncMs, rest));
  }

  #schedule(atMs: number, reason: LoopReason): void {
    if (this.#isDisposed) return;
    if (atMs >= this.#dueAtMs) {
      // News is to have a whole pass.
      if (this.#reason === "repair" && reason === "news") this.#reason = reason;
      return;
    }
    this.#clear();
    this.#dueAtMs = atMs;
    this.#reason = reason;
    const waitMs = atMs - this.#clock.monotonicMs();
    // A timer waits for a millisecond at least.
    if (waitMs > 0) this.#timer = setTimeout(() => this.#run(), waitMs);
    else this.#immediate = setImmediate(() => this.#run());
  }

  #clear(): void {
    clearTimeout(this.#timer);
    clearImmediate(this.#immediate);
  }

  #run(): void {
    const startedAtMs = this.#clock.monotonicMs();
    this.#dueAtMs = Infinity;
    this.#isBusy = true;
    if (!this.#isUnfinished) {
      const isRepair = this.#reason === "repair" && startedAtMs < this.#retryAtMs;
      if (!isRepair) {
        if (this.#reason === "repair") this.#reason = "event";
        if (startedAtMs >= this.#resyncAtMs) this.#reason = "resync";
      }
      this.#isResync = this.#reason === "resync";
    }
    const outcome = this.#pass(this.#reason);
    this.#endedAtMs = this.#clock.monotonicMs();
    this.#workedMs += this.#endedAtMs - startedAtMs;
    if (outcome === "unfinished") return this.#goOn();
    if (outcome instanceof Promise) return void outcome.then(() => this.#goOn());
    this.#isBusy = false;
    this.#isUnfinished = false;
    this.#durationBeforeMs = this.#durationMs;
    this.#durationMs = this.#workedMs;
    this.#workedMs = 0;
    if (this.#reason !== "repair") {
      this.#failures = outcome === "done" ? 0 : this.#failures + 1;
      this.#retryAtMs = outcome === "done" ? -Infinity : this.#endedAtMs + this.#backoff();
    }
    if (this.#failures === 0) this.#scheduleResync();
    else this.request("event");
    const wanted = this.#wanted;
    this.#wanted = undefined;
    if (wanted !== undefined) this.request(wanted);
  }

  #scheduleResync(): void {
    if (this.#isResync || this.#resyncAtMs === Infinity) {
      this.#resyncAtMs = this.#endedAtMs + this.#timing.resyncMs;
    }
    this.#schedule(Math.max(this.#resyncAtMs, this.#endedAtMs + this.#pause()), "resync");
  }

  #goOn(): void {
    this.#reason = "news";
    this.#isUnfinished = true;
    if (!this.#isDisposed) this.#immediate = setImmediate(() => this.#run());
  }

  [Symbol.dispose](): void {
    this.#isDisposed = true;
    this.#clear();
  }
}

const isBefore = (reason: LoopReason, wanted: LoopReason | undefined): boolean =>
  wanted === undefined || reason === "news" || (reason === "repair" && wanted !== "news");
