// What a request leaves to be closed and removed after its answer: the runtime does not wait for it.
import { toError } from "../../core/error.ts";
import type { Log } from "../../core/log.ts";

/** The kernel wakes the launcher on the processor where the daemon is: first that one reads its answer. */
const delayMs = 2;

/** Disposes of things a little later, in their order, and before the next request begins. */
export class PutOff implements Disposable {
  readonly #log: Log;
  readonly #waiting: Disposable[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(log: Log) {
    this.#log = log;
  }

  add(thing: Disposable): void {
    this.#waiting.push(thing);
    // What is added last is by who has just answered.
    if (this.#timer === undefined) this.#timer = setTimeout(() => this.flush(), delayMs);
    else this.#timer.refresh();
  }

  /** At once: what waits may stand in the way of what comes next. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const thing of this.#waiting.splice(0)) {
      try {
        thing[Symbol.dispose]();
      } catch (thrown) {
        this.#log.error({ err: toError(thrown) }, "cannot clean up after a request");
      }
    }
  }

  [Symbol.dispose](): void {
    this.flush();
  }
}
