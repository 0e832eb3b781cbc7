import { hashOctets } from "../message/wire-hash.ts";
import type { RateVerdict } from "./client-rate.ts";

const places = 4096;
const slipEvery = 8;
const windowMs = 1000;

/**
 * As ClientRate, for addresses as the kernel gives them, and without an object for any. Clients that meet in
 * one place share its rate: who does not know the seed cannot choose whom to meet.
 */
export class SourceRate {
  readonly #perSecond: number;
  readonly #seed: number;
  readonly #counts = new Uint32Array(places);
  #windowEndsMs = -Infinity;

  /** `perSecond` 0: any number. */
  constructor(perSecond: number, seed: number) {
    this.#perSecond = perSecond;
    this.#seed = seed;
  }

  /** Of the struct sockaddr of `length` octets at `start`. */
  judge(memory: Uint8Array, start: number, length: number, nowMs: number): RateVerdict {
    if (this.#perSecond === 0) return "answer";
    if (nowMs >= this.#windowEndsMs) {
      this.#counts.fill(0);
      this.#windowEndsMs = nowMs + windowMs;
    }
    // Without family and port.
    const place = hashOctets(this.#seed, memory, start + 4, start + length) & (places - 1);
    const count = (this.#counts[place] ?? 0) + 1;
    this.#counts[place] = count;
    const above = count - this.#perSecond;
    if (above <= 0) return "answer";
    return above % slipEvery === 1 ? "slip" : "drop";
  }
}
