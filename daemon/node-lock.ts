import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import type { Clock } from "../core/clock.ts";
import { hasErrno } from "../core/error.ts";
import { openLock } from "../kernel/flock.ts";
import type { FileLock } from "../kernel/kernel.ts";
import type { TakenOver } from "./dns/hand-over.ts";

// A daemon that was killed while it started a program leaves its lock with that child, until exec.
const lockDeadlineMs = 2_000;
/** For all that a daemon does when it is told to go. */
const predecessorMs = 30_000;

export interface NodeLockOptions {
  readonly path: string;
  /** A daemon whose place is taken: it has the lock until it is told that it may go. */
  readonly predecessor: TakenOver | undefined;
  readonly clock: Clock;
}

/** There is one daemon on a node, but for the moments in which one takes the place of another. */
export class NodeLock implements Disposable {
  readonly #options: NodeLockOptions;
  readonly #taken = Promise.withResolvers<void>();
  #lock: FileLock | undefined;

  private constructor(options: NodeLockOptions) {
    this.#options = options;
  }

  /** Rejects when another daemon runs whose place is not taken. */
  static async open(options: NodeLockOptions, signal: AbortSignal): Promise<NodeLock> {
    const lock = new NodeLock(options);
    const { path, predecessor } = options;
    if (predecessor !== undefined) return lock;
    mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
    try {
      await lock.#take(lockDeadlineMs, signal);
      return lock;
    } catch (cause) {
      if (!hasErrno(cause, "ETIMEDOUT")) throw cause;
      throw new Error(
        `Cannot start: another fairlead daemon runs on this node, it holds ${path} (--replace takes its place)`,
        { cause },
      );
    }
  }

  /** Resolves when no other daemon runs. */
  get taken(): Promise<void> {
    return this.#taken.promise;
  }

  /** Names are answered here: the one before may go, and nothing else begins until it has. */
  async waitForPredecessor(signal: AbortSignal): Promise<void> {
    this.#options.predecessor?.ready();
    await this.#take(predecessorMs, signal);
  }

  async #take(deadlineMs: number, signal: AbortSignal): Promise<void> {
    const { path, clock } = this.#options;
    this.#lock = await openLock(path, "exclusive", { deadlineMs, clock, signal });
    this.#taken.resolve();
  }

  [Symbol.dispose](): void {
    this.#lock?.[Symbol.dispose]();
  }
}
