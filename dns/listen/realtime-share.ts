/** Short: who has used up its share waits for so long among the others. Milliseconds. */
const windowMs = 100;

/**
 * Has a thread go before all others for a share of the time, and no more: who has worked for longer in a tenth of a
 * second is one among others for its rest. That bounds what a flood takes from the machine.
 */
export class RealtimeShare {
  readonly #mostMs: number;
  readonly #setRealtime: (isRealtime: boolean) => boolean;
  #isRealtime = false;
  #isRefused = false;
  #usedMs = 0;
  #windowEndMs = -Infinity;

  /** `share`: of a processor's time, from 0 to 1. `setRealtime`: false where that cannot be. */
  constructor(share: number, setRealtime: (isRealtime: boolean) => boolean) {
    this.#mostMs = share * windowMs;
    this.#setRealtime = setRealtime;
  }

  /** The thread was at work between these times, milliseconds. To be told of all its work. */
  worked(fromMs: number, toMs: number): void {
    if (toMs >= this.#windowEndMs) {
      this.#windowEndMs = toMs + windowMs;
      this.#usedMs = 0;
    } else {
      this.#usedMs += toMs - fromMs;
    }
    const hasLeft = this.#usedMs < this.#mostMs;
    if (hasLeft === this.#isRealtime || this.#isRefused) return;
    this.#isRefused = !this.#setRealtime(hasLeft);
    this.#isRealtime = hasLeft;
  }
}
