// Where ADD makes a pod's veth pair: in the event loop while requests come one at a time, for a thread that
// sleeps must be woken; in a thread of its own while they wait for each other.
import { availableParallelism } from "node:os";
import type { Log } from "../../core/log.ts";
import { PairThread } from "../../kernel/pair-thread.ts";

export interface PairMaking extends Disposable {
  /** The thread, while it is to be used. */
  readonly thread: () => PairThread | undefined;
  /** To be told how many requests wait, with each that begins. */
  readonly onWaiting: (count: number) => void;
}

/** A single processor gains nothing. */
export function openPairMaking(log: Log, processors = availableParallelism()): PairMaking {
  const thread = new PairThread({ log, ...bundledWorker() });
  let waiting = 0;
  return {
    thread: () => (waiting > 0 && processors > 1 && thread.isFree ? thread : undefined),
    onWaiting: (count) => {
      waiting = count;
    },
    [Symbol.dispose]: () => thread[Symbol.dispose](),
  };
}

// In a bundle the worker is a file beside this one; from the sources the thread knows its own.
const bundledWorker = (): { readonly workerUrl?: URL } =>
  import.meta.url.endsWith(".ts")
    ? {}
    : { workerUrl: new URL("./pair-worker.js", import.meta.url) };
