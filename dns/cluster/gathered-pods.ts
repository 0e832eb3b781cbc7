import type { PodsUpdate } from "./pod-book.ts";

/** In their order. `turn`: of PodTurns, with which the last of them is awaited. */
type SendPods = (updates: readonly PodsUpdate[], turn?: number) => void;

/**
 * Pods that came, as one message for all of an event loop's turn: each message copies, wakes the resolver's
 * thread, and has it tell another one. What forbids an answer goes at once, behind what came before it.
 */
export class GatheredPods {
  readonly #send: SendPods;
  #updates: PodsUpdate[] = [];
  #flushing: NodeJS.Immediate | undefined;

  constructor(send: SendPods) {
    this.#send = send;
  }

  add(update: PodsUpdate): void {
    this.#updates.push(update);
    if (!mayWait(update)) return this.flush();
    this.#flushing ??= setImmediate(() => this.flush());
  }

  /** The update is awaited. */
  flushWith(update: PodsUpdate, turn: number): void {
    this.#updates.push(update);
    this.flush(turn);
  }

  flush(turn?: number): void {
    clearImmediate(this.#flushing);
    this.#flushing = undefined;
    const updates = this.#updates;
    if (updates.length === 0) return;
    this.#updates = [];
    this.#send(updates, turn);
  }
}

const mayWait = ({ isComplete, removed, withheld, withheldNetworks }: PodsUpdate): boolean =>
  !isComplete && removed.length + withheld.length === 0 && withheldNetworks === undefined;
