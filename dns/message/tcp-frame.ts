import { maxMessageOctets } from "./message.ts";

/** A message behind its length, for one write: RFC 7766 section 8 wants both in one segment. */
export function frame(message: Uint8Array): Uint8Array {
  const framed = Buffer.allocUnsafe(2 + message.length);
  framed.writeUInt16BE(message.length, 0);
  framed.set(message, 2);
  return framed;
}

/** Cuts a stream into messages, however it was split into segments. Holds one message at most. */
export class FrameReader {
  readonly #maxOctets: number;
  #rest: Buffer = Buffer.alloc(0);

  constructor(maxOctets: number = maxMessageOctets) {
    this.#maxOctets = maxOctets;
  }

  /**
   * The messages that are complete now. Throws RangeError for a length that is not accepted. The type
   * of a socket's data has strings in it, which come only from a socket with an encoding.
   */
  push(chunk: Uint8Array | string): Uint8Array[] {
    const octets = typeof chunk === "string" ? Buffer.from(chunk, "latin1") : chunk;
    this.#rest = Buffer.concat([this.#rest, octets]);
    const messages: Uint8Array[] = [];
    while (this.#rest.length >= 2) {
      const length = this.#rest.readUInt16BE(0);
      if (length === 0 || length > this.#maxOctets) {
        throw new RangeError(
          `Cannot read frame of ${length} octets: expected 1 to ${this.#maxOctets}`,
        );
      }
      if (this.#rest.length < 2 + length) break;
      messages.push(this.#rest.subarray(2, 2 + length));
      this.#rest = this.#rest.subarray(2 + length);
    }
    return messages;
  }
}
