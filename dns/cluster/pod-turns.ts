// What the main thread has told of pods, and the threads that answer have taken: numbers that all of them
// see at once, so that who ends a pod need not wait for a thread to wake up and say that it has heard.

/** The threads that answer: the resolver's own, and the one that takes datagrams. */
export const answerers = { resolver: 0, packets: 1 } as const;
export type Answerer = (typeof answerers)[keyof typeof answerers];

const toldAt = 0;
const takenAt = 1;
const firstAnswerer = 2;
const count = firstAnswerer + Object.keys(answerers).length;

/**
 * An update is told after it was posted, and whoever is about to answer looks here first: it takes what is
 * waiting for it, or, where that is not its own, leaves the answer to whoever has it. Only an answer that
 * was begun before the update was told can still go by what was before: that one is waited for.
 */
export class PodTurns {
  readonly buffer: SharedArrayBuffer;
  readonly #values: Int32Array;

  constructor(buffer = new SharedArrayBuffer(count * Int32Array.BYTES_PER_ELEMENT)) {
    this.buffer = buffer;
    this.#values = new Int32Array(buffer);
  }

  /** Of the next update; for the main thread, which alone tells. */
  get next(): number {
    return (Atomics.load(this.#values, toldAt) + 1) | 0;
  }

  /** The update of this turn is posted. Gives what says whether an answer may still go without it. */
  tell(turn: number): () => boolean {
    Atomics.store(this.#values, toldAt, turn);
    const begun = this.#answering();
    return () => {
      const now = this.#answering();
      return begun.some((value, i) => isAnswering(value) && now[i] === value);
    };
  }

  /** The resolver's answers go by the update of this turn, and what it published to others too. */
  taken(turn: number): void {
    Atomics.store(this.#values, takenAt, turn);
  }

  /** Something was told that the resolver has not taken. */
  get isBehind(): boolean {
    return Atomics.load(this.#values, toldAt) !== Atomics.load(this.#values, takenAt);
  }

  /** Before the look at {@link isBehind}. */
  begin(answerer: Answerer): void {
    Atomics.add(this.#values, firstAnswerer + answerer, 1);
  }

  /** When the answers are sent. */
  end(answerer: Answerer): void {
    Atomics.add(this.#values, firstAnswerer + answerer, 1);
  }

  #answering(): readonly number[] {
    return Object.values(answerers).map((answerer) =>
      Atomics.load(this.#values, firstAnswerer + answerer),
    );
  }
}

/** Counted up at the beginning and at the end. */
const isAnswering = (value: number): boolean => (value & 1) === 1;
