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
  const fd = openForLock(path);
  const operation = (mode === "shared" ? lockShared : lockExclusive) | lockNonBlocking;
  const result = systemCalls.flock(fd, operation);
  if (result >= 0 && isThere(fd)) return heldLock(fd, path);
  closeSync(fd);
  if (result >= 0 || errnoName(result) === "EAGAIN") return undefined;
  checked(result, `lock "${path}"`);
  return undefined;
}

export interface LockWait {
  /** How long to keep trying. */
  readonly deadlineMs: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

const firstDelayMs = 1;
const longestDelayMs = 16;

/**
 * As {@link tryLock}, again and again until the deadline, then KernelError ETIMEDOUT. Never blocks
 * the process, as flock itself would. Rejects with the signal's reason when aborted.
 */
export async function openLock(path: string, mode: LockMode, wait: LockWait): Promise<FileLock> {
  const giveUpAtMs = wait.clock.monotonicMs() + wait.deadlineMs;
  for (let delayMs = firstDelayMs; ; delayMs = Math.min(delayMs * 2, longestDelayMs)) {
    wait.signal.throwIfAborted();
    const lock = tryLock(path, mode);
    if (lock !== undefined) return lock;
    if (wait.clock.monotonicMs() >= giveUpAtMs) {
      throw new KernelError(`lock "${path}" within ${wait.deadlineMs} ms`, "ETIMEDOUT");
    }
    await setTimeout(delayMs, undefined, { signal: wait.signal });
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
