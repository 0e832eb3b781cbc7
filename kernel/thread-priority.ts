import { getPriority, setPriority } from "node:os";

/** Each step is a weight a quarter larger: so many are nine times the time of who competes. */
const steps = 10;
const highest = -20;

/**
 * Has the calling thread go before others of the daemon, where they want one processor: to Linux
 * niceness is a thread's, and with control groups it counts within one. Without the right to it, all
 * stays as it is.
 */
export function preferThisThread(): void {
  const thisThread = 0;
  try {
    setPriority(thisThread, Math.max(highest, getPriority(thisThread) - steps));
  } catch {
    // EACCES: it is done without.
  }
}
