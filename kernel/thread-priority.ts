import { getPriority, setPriority } from "node:os";
import { setScheduler } from "./ffi.ts";

/** Each is a weight a quarter larger: so many are nine times the time of who competes. */
const steps = 10;
const highest = -20;
const thisThread = 0;

/** <sched.h>. What the thread starts has neither its policy nor its niceness. */
const policy = { other: 0, fifo: 1, resetOnFork: 0x4000_0000 };

/**
 * Has the calling thread go before others of the daemon, where they want one processor: to Linux
 * niceness is a thread's, and with control groups it counts within one. Without the right to it, all
 * stays as it is.
 */
export function preferThisThread(): void {
  try {
    setPriority(thisThread, Math.max(highest, getPriority(thisThread) - steps));
  } catch {
    // EACCES: it is done without.
  }
}

/**
 * Has the calling thread go before everything on the machine that is not of a real-time policy itself
 * (SCHED_FIFO, the lowest priority), or be one among others again, with the niceness that it had. False where the
 * kernel refuses it: without CAP_SYS_NICE, or in a control group without a budget for it.
 */
export function setRealtime(isRealtime: boolean): boolean {
  const wanted = (isRealtime ? policy.fifo : policy.other) | policy.resetOnFork;
  return setScheduler(thisThread, wanted, Int32Array.of(isRealtime ? 1 : 0)) >= 0;
}
