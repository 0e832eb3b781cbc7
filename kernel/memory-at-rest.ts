// What a program has held for a while and needs no more stays with it: V8 keeps the pages of a heap that
// was larger, and malloc what every thread has freed. Given back when the thread has nothing to do.
import { getHeapStatistics } from "node:v8";

export interface MemoryCare {
  /** Octets now held. */
  readonly held: () => number;
  /** Gives back what can be: 10 ms of the thread, 50 with a large heap, and as much of V8's own threads. */
  readonly giveBack: () => void;
  /** Of the time since it was last asked, the share that this thread was at work. */
  readonly busyShare: () => number;
}

/** Less than this more than after the last time is not worth it. Octets. */
const worthwhile = { process: 16 << 20, thread: 4 << 20 };
const lookEveryMs = 5_000;
/** Looks, from one time to the next: whatever comes and goes that fast is better left. */
const leastLooks = 12;
/** More: somebody would wait. */
const restingShare = 0.01;

/**
 * Of the whole process, from its main thread: this heap's, and malloc's of all threads. Without V8's
 * `--expose-gc` only the latter.
 */
export function giveBackProcessAtRest(trimMalloc: () => void): Disposable {
  return whenAtRest(
    {
      held: () => process.memoryUsage.rss(),
      giveBack: () => {
        giveBackHeap();
        trimMalloc();
      },
      busyShare: shareAtWork(),
    },
    worthwhile.process,
  );
}

/** Of this thread's own heap. Without V8's `--expose-gc` it does nothing. */
export function giveBackHeapAtRest(): Disposable {
  const held = (): number => getHeapStatistics().total_heap_size;
  return whenAtRest({ held, giveBack: giveBackHeap, busyShare: shareAtWork() }, worthwhile.thread);
}

/** Once after the start, and then whenever `worthwhile` octets more are held than after the last time. */
export function whenAtRest(
  { held, giveBack, busyShare }: MemoryCare,
  worthwhile: number,
): Disposable {
  let [least, looks] = [0, leastLooks];
  const timer = setInterval(() => {
    looks++;
    if (busyShare() > restingShare || looks < leastLooks || held() - least < worthwhile) return;
    giveBack();
    [least, looks] = [held(), 0];
  }, lookEveryMs).unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

/** Of this thread's heap, at once. Without V8's `--expose-gc` nothing. */
export function giveBackHeap(): void {
  // Of V8's collections the only one that empties pages which are nearly so, and lets go of them.
  globalThis.gc?.({ type: "major", execution: "sync", flavor: "last-resort" });
}

// By the processor's time: on a machine with much else to do, the event loop is long at little work.
function shareAtWork(): () => number {
  const usedMs = (): number => {
    const { user, system } = process.threadCpuUsage();
    return (user + system) / 1000;
  };
  let [last, lastAtMs] = [usedMs(), performance.now()];
  return () => {
    const [now, nowAtMs] = [usedMs(), performance.now()];
    const share = (now - last) / (nowAtMs - lastAtMs);
    [last, lastAtMs] = [now, nowAtMs];
    return share;
  };
}
