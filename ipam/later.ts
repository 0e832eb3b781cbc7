// What is left to be done of a request for leases when its answer is known.

/** Does it, with the network's lock held: at once, or after the answer. */
export type Later = (work: () => void) => void;

export const atOnce: Later = (work) => work();

/**
 * Whether the directory, when the work that comes next is done, was as it is now, as far as its time of
 * modification shows: what others do meanwhile is not to be taken for ours.
 */
export function isLeft(directory: { version(): string }, later: Later): () => boolean {
  if (later === atOnce) return () => true;
  const left = directory.version();
  let isSame = false;
  later(() => {
    isSame = directory.version() === left;
  });
  return () => isSame;
}

/**
 * What was put off, and the lock that is kept for it: done once, when it is disposed of. What fails ends
 * it, for what comes behind rests on it, and is the caller's to report.
 */
export class Leftover implements Disposable {
  readonly #works: readonly (() => void)[];
  readonly #lock: Disposable;
  readonly #onDone: () => void;
  #isDone = false;

  constructor(works: readonly (() => void)[], lock: Disposable, onDone: () => void) {
    this.#works = works;
    this.#lock = lock;
    this.#onDone = onDone;
  }

  [Symbol.dispose](): void {
    if (this.#isDone) return;
    this.#isDone = true;
    using _lock = this.#lock;
    this.#onDone();
    for (const work of this.#works) work();
  }
}
