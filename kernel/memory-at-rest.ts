// What a program has held for a while and needs no more stays with it: V8 keeps the pages of a heap that
// was larger, and malloc what every thread has freed. Given back when the thread has nothing to do.
import { getHeapStatistics } from "node:v8";
import { processorMs } from "./processor-time.ts";

export interface MemoryCare {
  /** Octets now held. */
  readonly held: () => number;
  /** Gives back what can be: 10 ms of the thread, 50 with a large heap, and as much of V8's own threads. */
  readonly giveBack: () => void;
  /** Of the time since it was last asked, the share that this thread was at work. */
  readonly busyShare: () => number;
}

/** Less than this more than after the last time is not worth it. Octets. */
const worthwhile = { process: 16 << 20, thread: 4 << 20, smallThread: 2 << 20 };
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
export const giveBackHeapAtRest = (): Disposable => whenAtRest(ownHeap(), worthwhile.thread);

/** As {@link giveBackHeapAtRest}, of a thread without an event loop, which has little: see {@link lookAtRest}. */
export const giveBackHeapWhenCalled = (): ((nowMs: number) => void) =>
  lookAtRest(ownHeap(), worthwhile.smallThread);

const ownHeap = (): MemoryCare => ({
  held: () => getHeapStatistics().total_heap_size,
  giveBack: giveBackHeap,
  busyShare: shareAtWork(),
});

/** Once after the start, and then whenever `worthwhile` octets more are held than after the last time. */
export function whenAtRest(care: MemoryCare, worthwhile: number): Disposable {
  const timer = setInterval(looking(care, worthwhile), lookEveryMs).unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

/** As {@link whenAtRest}, for who calls it with the time, in milliseconds: as often as it likes. */
export function lookAtRest(care: MemoryCare, worthwhile: number): (nowMs: number) => void {
  const look = looking(care, worthwhile);
  let nextMs = -Infinity;
  return (nowMs) => {
    if (nowMs < nextMs) return;
    nextMs = nowMs + lookEveryMs;
    look();
  };
}

function looking({ held, giveBack, busyShare }: MemoryCare, worthwhile: number): () => void {
  let [least, looks] = [0, leastLooks];
  return () => {
    looks++;
    if (busyShare() > restingShare || looks < leastLooks || held() - least < worthwhile) return;
    giveBack();
    [least, looks] = [held(), 0];
  };
}

/** Of this thread's heap, at once. Without V8's `--expose-gc` nothing. */
export function giveBackHeap(): void {
  // Of V8's collections the only one that empties pages which are nearly so, and lets go of them.
  globalThis.gc?.({ type: "major", execution: "sync", flavor: "last-resort" });
}

// By the processor's time: on a machine with much else to do, the event loop is long at little work.
function shareAtWork(): () => number {
  let [last, lastAtMs] = [processorMs(), performance.now()];
  return () => {
    const [now, nowAtMs] = [processorMs(), performance.now()];
    const share = (now - last) / (nowAtMs - lastAtMs);
    [last, lastAtMs] = [now, nowAtMs];
    return share;
  };
}
