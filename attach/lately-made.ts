import type { Clock } from "../core/clock.ts";

/** Notifications of an ADD are read within two milliseconds, in a burst of fifty within thirty. */
const lateMs = 100;

/** The host interfaces that ADDs made a moment ago. */
export class LatelyMade {
  readonly #clock: Pick<Clock, "monotonicMs">;
  /** When, in that order. */
  readonly #made = new Map<string, number>();

  constructor(clock: Pick<Clock, "monotonicMs">) {
    this.#clock = clock;
  }

  note(device: string): void {
    this.#forget();
    this.#made.delete(device);
    this.#made.set(device, this.#clock.monotonicMs());
  }

  has(device: string): boolean {
    this.#forget();
    return this.#made.has(device);
  }

  #forget(): void {
    const sinceMs = this.#clock.monotonicMs() - lateMs;
    for (const [device, atMs] of this.#made) {
      if (atMs > sinceMs) return;
      this.#made.delete(device);
    }
  }
}
