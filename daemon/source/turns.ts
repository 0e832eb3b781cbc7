import { setImmediate } from "node:timers/promises";

/**
 * Long work in pieces, whoever does it: one piece in a turn of the event loop, so that what else is to be
 * done comes between them, however many work at the same time.
 */
export class Turns {
  #last: Promise<void> = Promise.resolve();

  /** Resolves when it is the caller's turn, for as long as it does not wait again. */
  async next(): Promise<void> {
    const mine = this.#last.then(() => setImmediate());
    this.#last = mine;
    await mine;
  }
}
