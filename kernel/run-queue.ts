// Whether a thread that is woken now finds a processor at once, or behind others.
import { closeSync, openSync, readSync } from "node:fs";

/** proc_loadavg(5): three averages, how many threads want to run and how many there are, the newest pid. */
const threads = / (\d+)\/\d+ \d+\n$/;

/** The machine's. A read costs 3 µs. */
export class RunQueue implements Disposable {
  readonly #fd: number;
  readonly #octets = Buffer.alloc(128);

  constructor(path = "/proc/loadavg") {
    this.#fd = openSync(path, "r");
  }

  /** How many threads run or want to, the one that asks among them; Infinity where it cannot be told. */
  get length(): number {
    const count = readSync(this.#fd, this.#octets, 0, this.#octets.length, 0);
    return Number(threads.exec(this.#octets.toString("latin1", 0, count))?.[1] ?? Infinity);
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }
}
