// A thread beside the event loop that makes veth pairs. What the kernel does for one is a third of an ADD
// and needs nothing of what the event loop has: where requests wait for each other, two processors work.
import { Worker } from "node:worker_threads";
import { KernelError, toError } from "../core/error.ts";
import type { Log } from "../core/log.ts";
import type {
  PairAnswer,
  PairBatches,
  PairFailure,
  PairJob,
  WorkerStart,
} from "./pair-protocol.ts";

export type { PairBatches } from "./pair-protocol.ts";

/** How a pair was made, or not: then by which of the batches. */
export type PairOutcome =
  | { readonly kind: "made"; readonly isRunning: boolean }
  | { readonly kind: "failed"; readonly batch: PairFailure["batch"]; readonly error: KernelError };

export interface PairThreadOptions extends WorkerStart {
  readonly log: Log;
  /** The thread's entry; default: pair-worker.ts beside this file, which a bundle does not have. */
  readonly workerUrl?: URL;
  /** How long it stays with nothing to do: it holds 20 MiB. */
  readonly idleMs?: number;
}

/** Behind so many the event loop is as quick. */
const queueLimit = 32;
const usualIdleMs = 60_000;
/** Collected every few dozen pairs: nothing of one outlives it. */
const youngGenerationMb = 2;

interface Running {
  readonly worker: Worker;
  readonly waiting: Map<number, (answer: PairAnswer | Error) => void>;
  isReady: boolean;
  wasUsed: boolean;
}

export class PairThread implements Disposable {
  readonly #options: PairThreadOptions;
  #running: Running | undefined;
  #serial = 0;
  readonly #idle: NodeJS.Timeout;

  /** The thread is started when it is first asked for. */
  constructor(options: PairThreadOptions) {
    this.#options = options;
    this.#idle = setInterval(() => this.#endIdle(), options.idleMs ?? usualIdleMs).unref();
  }

  /** Whether a pair would be begun soon. While there is no thread one is being started. */
  get isFree(): boolean {
    const { isReady, waiting } = (this.#running ??= this.#start());
    return isReady && waiting.size < queueLimit;
  }

  /** Only while it {@link isFree}. Rejects when the thread ends: what it did then is unknown. */
  async make(batches: PairBatches): Promise<PairOutcome> {
    const running = (this.#running ??= this.#start());
    const job: PairJob = { serial: this.#serial++, batches };
    const { promise, resolve } = Promise.withResolvers<PairAnswer | Error>();
    running.waiting.set(job.serial, resolve);
    running.wasUsed = true;
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
    running.worker.postMessage(job);
    const answer = await promise;
    if (answer instanceof Error) {
      throw new KernelError("make a pair in another thread", "EIO", "", { cause: answer });
    }
    if (answer.failure === undefined) return { kind: "made", isRunning: answer.isRunning ?? false };
    const { batch, operation, errno, kernelMessage } = answer.failure;
    return { kind: "failed", batch, error: new KernelError(operation, errno, kernelMessage) };
  }

  /** What is not made by then fails. */
  [Symbol.dispose](): void {
    clearInterval(this.#idle);
    void this.#running?.worker.terminate();
  }

  #start(): Running {
    const { namespace, workerUrl, log } = this.#options;
    const url = workerUrl ?? new URL("./pair-worker.ts", import.meta.url);
    const start: WorkerStart = namespace === undefined ? {} : { namespace };
    const worker = new Worker(url, {
      name: "fairlead-pairs",
      workerData: start,
      resourceLimits: { maxYoungGenerationSizeMb: youngGenerationMb },
    });
    const running: Running = { worker, waiting: new Map(), isReady: false, wasUsed: true };
    // Requests in flight keep the process, and they have connections.
    worker.unref();
    worker.on("message", (answer: PairAnswer) => {
      running.isReady = true;
      running.waiting.get(answer.serial)?.(answer);
      running.waiting.delete(answer.serial);
    });
    let failure = new Error("The thread has ended");
    worker.on("error", (thrown) => {
      failure = toError(thrown);
      log.error({ err: failure }, "the thread that makes pairs failed");
    });
    worker.on("exit", () => {
      if (this.#running === running) this.#running = undefined;
      for (const resolve of running.waiting.values()) resolve(failure);
    });
    return running;
  }

  #endIdle(): void {
    const running = this.#running;
    if (running === undefined || !running.isReady || running.waiting.size > 0) return;
    if (running.wasUsed) {
      running.wasUsed = false;
      return;
    }
    this.#running = undefined;
    void running.worker.terminate();
  }
}
