import { closeSync, constants, fstatSync, openSync } from "node:fs";
import { setTimeout } from "node:timers/promises";
import type { Clock } from "../core/clock.ts";
import { KernelError } from "../core/error.ts";
import { checked, errnoName, fromSystemError } from "./errno.ts";
import { systemCalls } from "./ffi.ts";
import type { FileLock } from "./kernel.ts";

export type LockMode = "shared" | "exclusive";

// flock(2), <sys/file.h>.
const lockShared = 1;
const lockExclusive = 2;
const lockNonBlocking = 4;

/**
 * Takes the advisory lock (flock) of a file, which is made when missing, or gives undefined when
 * somebody holds it the other way. The kernel drops it when the process dies. Each call opens the
 * file for itself, so two locks within one process exclude each other too. The holder may remove the
 * file: a lock on a file that no longer has the path is none, and gives undefined.
 */
export function tryLock(path: string, mode: LockMode): FileLock | undefined {
  using attempt = new LockAttempt(path, mode);
  return attempt.take();
}

export interface LockWait {
  /** How long to keep trying. */
  readonly deadlineMs: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

// Whoever waits in the kernel, as host-local does, is woken within some 50 µs and then has the lock: where
// there is always one, the moments between two holders are all there is, and one in ten or so is met.
// Waiting longer and longer would be to starve. A try costs 2 µs.
const retryMs = 1;

/**
 * As {@link tryLock}, again and again until the deadline, then KernelError ETIMEDOUT. Never blocks
 * the process, as flock itself would. Rejects with the signal's reason when aborted.
 */
export async function openLock(path: string, mode: LockMode, wait: LockWait): Promise<FileLock> {
  const { clock, deadlineMs, signal } = wait;
  const giveUpAtMs = clock.monotonicMs() + deadlineMs;
  signal.throwIfAborted();
  using attempt = new LockAttempt(path, mode);
  for (;;) {
    const lock = attempt.take();
    if (lock !== undefined) return lock;
    if (clock.monotonicMs() >= giveUpAtMs) {
      throw new KernelError(`lock "${path}" within ${deadlineMs} ms`, "ETIMEDOUT");
    }
    await setTimeout(retryMs, undefined, { signal });
  }
}

/** The open file, tried until it is locked. */
class LockAttempt {
  readonly #path: string;
  readonly #operation: number;
  #fd: number | undefined;

  constructor(path: string, mode: LockMode) {
    this.#path = path;
    this.#operation = (mode === "shared" ? lockShared : lockExclusive) | lockNonBlocking;
  }

  take(): FileLock | undefined {
    const fd = (this.#fd ??= openForLock(this.#path));
    const result = systemCalls.flock(fd, this.#operation);
    if (result < 0) {
      if (errnoName(result) !== "EAGAIN") checked(result, `lock "${this.#path}"`);
      return undefined;
    }
    if (!isThere(fd)) {
      this[Symbol.dispose]();
      return undefined;
    }
    this.#fd = undefined;
    return heldLock(fd, this.#path);
  }

  [Symbol.dispose](): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }
}

// Closed once, however often it is disposed: the number may be another file's by then.
function heldLock(fd: number, path: string): FileLock {
  let isHeld = true;
  const dispose = (): void => {
    if (isHeld) closeSync(fd);
    isHeld = false;
  };
  return { path, [Symbol.dispose]: dispose };
}

// A holder may have removed the file since it was opened: it has no name then.
const isThere = (fd: number): boolean => fstatSync(fd).nlink > 0;

function openForLock(path: string): number {
  try {
    return openSync(path, constants.O_RDONLY | constants.O_CREAT, 0o600);
  } catch (cause) {
    throw fromSystemError(cause, `open the lock "${path}"`);
  }
}
