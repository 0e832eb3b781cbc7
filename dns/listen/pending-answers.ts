import type { Responder } from "../respond/responder.ts";

/** Counts the queries that wait for an answer. */
export class PendingAnswers {
  #count = 0;
  #waiting: (() => void)[] = [];

  /** Answers as `respond` does. */
  counting(respond: Responder): Responder {
    return (query, client) => {
      const answer = respond(query, client);
      if (!(answer instanceof Promise)) return answer;
      this.#count++;
      return answer.finally(() => {
        this.#count--;
        // Who sends the answer has its turn before those who wait for it to be sent.
        if (this.#count === 0) setImmediate(() => this.#tell());
      });
    };
  }

  /** Resolves when none waits, at the latest after `mostMs`. */
  settled(mostMs: number): Promise<void> {
    if (this.#count === 0) return Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    const late = setTimeout(resolve, mostMs);
    this.#waiting.push(() => {
      clearTimeout(late);
      resolve();
    });
    return promise;
  }

  #tell(): void {
    if (this.#count > 0) return;
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}
