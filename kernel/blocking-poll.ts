// poll(2) for a thread that has no event loop, and the way to wake it.
import { closeSync, readSync, writeSync } from "node:fs";
import { checked } from "./errno.ts";
import { datagramCalls } from "./ffi.ts";

// <poll.h>, <sys/eventfd.h>.
const pollIn = 1;
const entryOctets = 8;
const efdCloexec = 0x8_0000;
const efdNonblock = 0x800;
/** A thread inside a system call cannot be ended: it leaves the call this often by itself. */
export const longestPollMs = 250;

/** Wakes a thread that polls `fd`, from any other. Its owner closes it when that thread has ended. */
export class Waker implements Disposable {
  readonly fd: number;

  constructor() {
    this.fd = checked(datagramCalls.eventfd(0, efdCloexec | efdNonblock), "make an eventfd");
  }

  wake(): void {
    writeSync(this.fd, oneWake);
  }

  [Symbol.dispose](): void {
    closeSync(this.fd);
  }
}

const oneWake = new Uint8Array(BigUint64Array.of(1n).buffer);

/** Waits for descriptors, of which the first is a {@link Waker}'s. */
export class BlockingPoll {
  readonly #wakerFd: number;
  #fds: readonly number[] = [];
  #entries = new Uint8Array(entryOctets);
  #view = new DataView(this.#entries.buffer);
  readonly #drained = new Uint8Array(8);

  constructor(wakerFd: number) {
    this.#wakerFd = wakerFd;
    this.watch([]);
  }

  /** From now on these. */
  watch(fds: readonly number[]): void {
    this.#fds = fds;
    this.#entries = new Uint8Array(entryOctets * (1 + fds.length));
    this.#view = new DataView(this.#entries.buffer);
    for (const [i, fd] of [this.#wakerFd, ...fds].entries()) {
      this.#view.setInt32(entryOctets * i, fd, true);
      this.#view.setInt16(entryOctets * i + 4, pollIn, true);
    }
  }

  /** Blocks the thread until a descriptor has something, it is woken, or the time is over. */
  wait(timeoutMs = longestPollMs): void {
    const ready = datagramCalls.poll(this.#entries, 1 + this.#fds.length, timeoutMs);
    // Interrupted: nothing was written of what happened.
    if (ready < 0) this.watch(this.#fds);
    if (this.#happened(0)) readSync(this.#wakerFd, this.#drained);
  }

  /** Whether the descriptor at this place has something to read, or an error. */
  isReady(i: number): boolean {
    return this.#happened(i + 1);
  }

  #happened(i: number): boolean {
    return this.#view.getInt16(entryOctets * i + 6, true) !== 0;
  }
}
