import { setTimeout as delay } from "node:timers/promises";

export interface Waiting {
  /** Completes "… in 5000 ms": what did not happen. */
  readonly what: string;
  readonly deadlineMs: number;
  readonly signal: AbortSignal;
}

const intervalMs = 10;

/** Asks until the answer is something; throws when the deadline passes or the signal aborts. */
export async function waitFor<T>(
  ask: () => T | undefined | Promise<T | undefined>,
  { what, deadlineMs, signal }: Waiting,
): Promise<T> {
  const end = performance.now() + deadlineMs;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    if (performance.now() >= end) throw new Error(`${what} in ${deadlineMs} ms`);
    await delay(intervalMs, undefined, { signal });
  }
}
