import { closeSync } from "node:fs";

const places = 64;

/**
 * The descriptors that a thread has open, in memory that it shares with who started it: nobody closes
 * them when a thread ends by itself.
 */
export class SharedDescriptors {
  readonly buffer: SharedArrayBuffer;
  /** Each plus one; 0: free. */
  readonly #places: Int32Array;

  constructor(buffer = new SharedArrayBuffer(places * Int32Array.BYTES_PER_ELEMENT)) {
    this.buffer = buffer;
    this.#places = new Int32Array(buffer);
  }

  add(fd: number): void {
    const free = this.#places.indexOf(0);
    if (free < 0) throw new RangeError(`More than ${places} descriptors of one thread`);
    Atomics.store(this.#places, free, fd + 1);
  }

  close(fd: number): void {
    const place = this.#places.indexOf(fd + 1);
    if (place < 0) return;
    Atomics.store(this.#places, place, 0);
    closeSync(fd);
  }

  /** When the thread has ended. */
  closeAll(): void {
    for (const stored of this.#places.filter((stored) => stored > 0)) this.close(stored - 1);
  }
}
