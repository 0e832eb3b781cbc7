// Whether nodes that the cluster no longer has may be taken out of the kernel: not at once when most of
// them go together, which is nearly always an accident of whoever writes the source.

/** A removal that is held back. */
export interface HeldRemoval {
  /** Peers before, and those that are left. */
  readonly had: number;
  readonly wants: number;
  /** Monotonic, milliseconds: when it is done all the same. */
  readonly untilMs: number;
}

/** What goes within this time goes together: a directory is not emptied in one step. */
const togetherMs = 60_000;
/** That one of two nodes leaves is no sign of anything. */
const fewest = 2;

interface Count {
  /** When it was last so. */
  readonly atMs: number;
  readonly peers: number;
}

export class RemovalGuard {
  readonly #graceMs: number;
  /** Each less than the one before, and later. */
  #lately: readonly Count[] = [];
  #held: HeldRemoval | undefined;

  /** @param graceMs how long a removal of most peers waits; 0: not at all. */
  constructor(graceMs: number) {
    this.#graceMs = graceMs;
  }

  /** What is held back now. */
  get held(): HeldRemoval | undefined {
    return this.#held;
  }

  /**
   * True when what is not wanted may go. More than half of the peers together, and two or more, wait for
   * the grace; they go before its end when half as many as there were are wanted again, these or others.
   * @param wants how many peers there are to be.
   * @param found how many the kernel has ways to; asked once.
   */
  mayRemove(wants: number, nowMs: number, found: () => number): boolean {
    if (this.#graceMs === 0) return true;
    if (this.#lately.length === 0) this.#lately = [{ atMs: nowMs, peers: found() }];
    const had = this.#held?.had ?? this.#mostLately(nowMs);
    if (had - wants < fewest || wants * 2 >= had) {
      this.#held = undefined;
      const more = this.#lately.filter(
        ({ atMs, peers }) => peers > wants && nowMs - atMs < togetherMs,
      );
      this.#lately = [...more, { atMs: nowMs, peers: wants }];
      return true;
    }
    const untilMs = this.#held?.untilMs ?? nowMs + this.#graceMs;
    const isOver = nowMs >= untilMs;
    this.#held = isOver ? undefined : { had, wants, untilMs };
    if (isOver) this.#lately = [{ atMs: nowMs, peers: wants }];
    return isOver;
  }

  /** The last count stands until there is another, however long ago that was. */
  #mostLately(nowMs: number): number {
    const recent = this.#lately.find(({ atMs }) => nowMs - atMs < togetherMs);
    return (recent ?? this.#lately.at(-1))?.peers ?? 0;
  }
}
