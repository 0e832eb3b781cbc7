import type { Clock } from "../core/clock.ts";

/** Notifications of an ADD are read within two milliseconds, in a burst of fifty within thirty. */
const lateMs = 100;

/** The host interfaces that ADDs are making, or made a moment ago. */
export class LatelyMade {
  readonly #clock: Pick<Clock, "monotonicMs">;
  /** When, in that order. */
  readonly #made = new Map<string, number>();
  /** How many requests are at work on each. */
  readonly #atWork = new Map<string, number>();

  constructor(clock: Pick<Clock, "monotonicMs">) {
    this.#clock = clock;
  }

  /** Where it fails, the interface is nobody's. */
  async during<T>(device: string, make: () => Promise<T>): Promise<T> {
    this.#atWork.set(device, (this.#atWork.get(device) ?? 0) + 1);
    try {
      const made = await make();
      this.#note(device);
      return made;
    } finally {
      const others = (this.#atWork.get(device) ?? 1) - 1;
      if (others === 0) this.#atWork.delete(device);
      else this.#atWork.set(device, others);
    }
  }

  has(device: string): boolean {
    this.#forget();
    return this.#atWork.has(device) || this.#made.has(device);
  }

  #note(device: string): void {
    this.#forget();
    this.#made.delete(device);
    this.#made.set(device, this.#clock.monotonicMs());
  }

  #forget(): void {
    const sinceMs = this.#clock.monotonicMs() - lateMs;
    for (const [device, atMs] of this.#made) {
      if (atMs > sinceMs) return;
      this.#made.delete(device);
    }
  }
}
