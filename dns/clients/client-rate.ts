/** What becomes of a query: `slip` is a truncated answer, with which an honest client comes by TCP. */
export type RateVerdict = "answer" | "slip" | "drop";

/** Of a client's queries above its rate, one in so many gets a truncated answer. */
const slipEvery = 8;
/** Clients counted in one second; with more, sources are being made up, and counting starts again. */
const maxClients = 16_384;
const windowMs = 1000;

/** So many queries a second are answered of each client, and no more. Counts in whole seconds. */
export class ClientRate {
  readonly #perSecond: number;
  readonly #counts = new Map<string, number>();
  #windowEndsMs = -Infinity;

  /** 0: any number. */
  constructor(perSecond: number) {
    this.#perSecond = perSecond;
  }

  judge(address: string, nowMs: number): RateVerdict {
    if (this.#perSecond === 0) return "answer";
    if (nowMs >= this.#windowEndsMs || this.#counts.size >= maxClients) {
      this.#counts.clear();
      this.#windowEndsMs = nowMs + windowMs;
    }
    const count = (this.#counts.get(address) ?? 0) + 1;
    this.#counts.set(address, count);
    const above = count - this.#perSecond;
    if (above <= 0) return "answer";
    return above % slipEvery === 1 ? "slip" : "drop";
  }
}
