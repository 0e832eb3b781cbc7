// Who makes a pod's veth pair: while requests come one at a time, another thread the pair alone, for its lease
// and record are written meanwhile; while they wait for each other, a thread of its own all that hangs on it too.
import { availableParallelism } from "node:os";
import type { PairMakers } from "../../attach/context.ts";
import type { Log } from "../../core/log.ts";
import { PairThread } from "../../kernel/pair-thread.ts";
import { RunQueue } from "../../kernel/run-queue.ts";

export interface PairMaking extends Disposable {
  /** Absent on a single processor, which gains nothing by other threads. */
  readonly makers?: PairMakers;
  /** To be told how many requests wait, with each that begins. */
  readonly onWaiting: (count: number) => void;
}

export interface Machine {
  readonly processors: number;
  readonly running: Pick<RunQueue, "length"> & Disposable;
}

/** On a busy machine a thread that is woken waits for its turn, longer than it takes to make the pair here. */
export function openPairMaking(log: Log, machine?: Machine): PairMaking {
  const { processors, running } = machine ?? {
    processors: availableParallelism(),
    running: new RunQueue(),
  };
  const thread = new PairThread({ log, ...bundledWorker() });
  let waiting = 0;
  return {
    ...(processors > 1 && {
      makers: {
        thread: () => (waiting > 0 && thread.isFree ? thread : undefined),
        isBeside: () => waiting === 0 && running.length < processors,
      },
    }),
    onWaiting: (count) => {
      waiting = count;
    },
    [Symbol.dispose]: () => {
      thread[Symbol.dispose]();
      running[Symbol.dispose]();
    },
  };
}

// In a bundle the worker is a file beside this one; from the sources the thread knows its own.
const bundledWorker = (): { readonly workerUrl?: URL } =>
  import.meta.url.endsWith(".ts")
    ? {}
    : { workerUrl: new URL("./pair-worker.js", import.meta.url) };
