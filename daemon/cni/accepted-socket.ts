import { closeSync } from "node:fs";
import { Socket } from "node:net";
import { receiveWaiting, sendWithoutWaiting, waitToReceive } from "../../kernel/unix-socket.ts";

/**
 * A connection by its descriptor, for as long as nothing has to be waited for; from then on Node's
 * stream has it.
 */
export class AcceptedSocket {
  readonly fd: number;
  /** Resolves when it is closed. */
  readonly closed: Promise<void>;
  readonly #resolveClosed: () => void;
  readonly #onStreamError: (error: Error) => void;
  #stream: Socket | undefined;
  #isOpen = true;

  /** The descriptor is this one's to close. A failure is followed by the close. */
  constructor(fd: number, onError: (error: Error) => void) {
    this.fd = fd;
    this.#onStreamError = onError;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.closed = promise;
    this.#resolveClosed = resolve;
  }

  /** What the other end has sent already. Not once there is a stream. */
  receiveWaiting(): Buffer {
    return receiveWaiting(this.fd);
  }

  /** As {@link receiveWaiting}; until something has come, or the time is over, the event loop stands still. */
  receiveWithin(forMs: number): Buffer {
    waitToReceive(this.fd, forMs);
    return this.receiveWaiting();
  }

  /** For what has not come yet. */
  stream(): Socket {
    if (this.#stream === undefined) {
      this.#stream = new Socket({ fd: this.fd, readable: true, writable: true });
      this.#stream.once("close", () => this.#noteClosed());
      this.#stream.on("error", this.#onStreamError);
    }
    return this.#stream;
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** The last that is sent; then it is closed. */
  end(octets: Buffer): void {
    if (!this.#isOpen) return;
    const sent = this.#stream === undefined ? sendWithoutWaiting(this.fd, octets) : 0;
    if (sent === octets.length) this.destroy();
    else this.stream().end(octets.subarray(sent));
  }

  /** Closed when what was given to `end` is sent. */
  destroySoon(): void {
    if (this.#stream === undefined) this.destroy();
    else this.#stream.destroySoon();
  }

  destroy(): void {
    if (this.#stream !== undefined) this.#stream.destroy();
    else if (this.#isOpen) {
      closeSync(this.fd);
      this.#noteClosed();
    }
  }

  #noteClosed(): void {
    this.#isOpen = false;
    this.#resolveClosed();
  }
}
