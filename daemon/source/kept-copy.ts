// When the cluster's copy on the disk is written: some time after a change, and never so often that it
// counts.
import type { Clock } from "../../core/clock.ts";
import type { Snapshot } from "../../core/cluster/model.ts";
import { describeError } from "../../core/error.ts";
import type { Log } from "../../core/log.ts";
import { processorMs } from "../../kernel/processor-time.ts";
import { writeClusterCopy } from "./cluster-copy.ts";

export interface CopyTiming {
  /** From the first cluster that is whole to the first copy. */
  readonly firstMs: number;
  /** From a change to the copy that has it. */
  readonly afterMs: number;
  /** From the end of one to the start of the next, in times of the processor's time that the one took. */
  readonly pauseFactor: number;
}

export interface KeptCopyOptions {
  readonly path: string;
  /** Of what: a cluster's location. */
  readonly copyOf: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly timing: CopyTiming;
}

export class KeptCopy implements Disposable {
  readonly #options: KeptCopyOptions;
  #newest: Snapshot | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isWriting = false;
  #hasWritten = false;
  #problem: string | undefined;

  constructor(options: KeptCopyOptions) {
    this.#options = options;
  }

  /** Why there is none of the newest. */
  get problem(): string | undefined {
    return this.#problem;
  }

  keep(snapshot: Snapshot): void {
    this.#newest = snapshot;
    const { firstMs, afterMs } = this.#options.timing;
    if (!this.#isWriting) this.#schedule(this.#hasWritten ? afterMs : firstMs);
  }

  #schedule(waitMs: number): void {
    this.#timer ??= setTimeout(() => void this.#write(), waitMs).unref();
  }

  async #write(): Promise<void> {
    const { path, copyOf, clock, log, timing } = this.#options;
    const snapshot = this.#newest;
    if (snapshot === undefined) return;
    this.#newest = undefined;
    this.#isWriting = true;
    const workedMs = processorMs();
    try {
      await writeClusterCopy(path, snapshot, { copyOf, atMs: clock.nowMs() });
      this.#problem = undefined;
      this.#hasWritten = true;
    } catch (error) {
      const problem = `Cannot write the cluster's copy ${path}: ${describeError(error)}`;
      if (problem !== this.#problem) log.warn({ problem }, "a restart needs the API meanwhile");
      this.#problem = problem;
      this.#newest ??= snapshot;
    }
    this.#isWriting = false;
    this.#timer = undefined;
    const waitMs = Math.max(timing.afterMs, (processorMs() - workedMs) * timing.pauseFactor);
    if (this.#newest !== undefined) this.#schedule(waitMs);
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#newest = undefined;
  }
}
