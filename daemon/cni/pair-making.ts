// Who makes a pod's veth pair: while requests come one at a time, another thread the pair alone, for its lease
// and record are written meanwhile; while they wait for each other, a thread of its own all that hangs on it too.
import { availableParallelism } from "node:os";
import type { AttachContext } from "../../attach/context.ts";
import type { Log } from "../../core/log.ts";
import { PairThread } from "../../kernel/pair-thread.ts";

export interface PairMaking extends Disposable {
  /** As AttachContext has it. Absent on a single processor, which gains nothing by other threads. */
  readonly maker?: NonNullable<AttachContext["pairMaker"]>;
  /** To be told how many requests wait, with each that begins. */
  readonly onWaiting: (count: number) => void;
}

export function openPairMaking(log: Log, processors = availableParallelism()): PairMaking {
  const thread = new PairThread({ log, ...bundledWorker() });
  let waiting = 0;
  return {
    ...(processors > 1 && {
      maker: () => (waiting === 0 ? "beside" : thread.isFree ? thread : undefined),
    }),
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
