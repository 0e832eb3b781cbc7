import type { AcceptedSocket } from "./accepted-socket.ts";

/** The shortest that poll(2) can wait; a launcher that gets a processor sends within 20 µs. */
const patienceMs = 1;
/** After one that did not send in time. */
const withoutPatienceMs = 1_000;

/**
 * What a launcher sends first. To connect is to wake us, on its own processor when the other one is busy:
 * then it has not sent yet, and does once we sleep for a moment. A stream that waits for it costs more, and
 * only who stalls gets one: at the cost of a thousandth of the time, however many do.
 */
export class Promptness {
  readonly #nowMs: () => number;
  #impatientUntilMs = -Infinity;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  receiveFirst(socket: Pick<AcceptedSocket, "receiveWaiting" | "receiveWithin">): Buffer {
    const there = socket.receiveWaiting();
    if (there.length > 0 || this.#nowMs() < this.#impatientUntilMs) return there;
    const received = socket.receiveWithin(patienceMs);
    if (received.length === 0) this.#impatientUntilMs = this.#nowMs() + withoutPatienceMs;
    return received;
  }
}
