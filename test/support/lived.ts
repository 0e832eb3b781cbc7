// Time as this process lived it: what passed while it was not given a processor does not count, so that a
// bound on it says something of the program and nothing of the machine.

// Longer than this between two turns of the timer is not its own waiting.
const turnMs = 5;
const mostTurnMs = 2 * turnMs;

/** What `work` gives, and how long it took, milliseconds; for waiting, not for work that keeps the thread. */
export async function timeLived<T>(work: () => PromiseLike<T> | T): Promise<[Awaited<T>, number]> {
  let livedMs = 0;
  let lastMs = performance.now();
  const take = (): void => {
    const nowMs = performance.now();
    livedMs += Math.min(nowMs - lastMs, mostTurnMs);
    lastMs = nowMs;
  };
  const timer = setInterval(take, turnMs);
  try {
    const result = await work();
    take();
    return [result, livedMs];
  } finally {
    clearInterval(timer);
  }
}
