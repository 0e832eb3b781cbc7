// Who may change attachments: requests one by one while there is no daemon, or the daemon. A request
// that a plugin process serves itself holds attach.lock shared; the daemon takes it exclusive for its
// first sweep and until it listens, so that it never mistakes a request in flight for one that died.
// Requests that follow one another would keep the daemon away for ever: while it waits it has the turn,
// and those that come then let it go first, for a while.
import { mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Clock } from "../core/clock.ts";
import { CniCode, CniError } from "../core/cni/error.ts";
import type { CniHandlers } from "../core/cni/types.ts";
import { hasErrno } from "../core/error.ts";
import { openLock } from "../kernel/flock.ts";
import type { FileLock } from "../kernel/kernel.ts";

// Requests at work take a second at most, but for one whose IPAM plugin is slow: that one must not hold up
// the others until its end.
const usualCourtesyMs = 3_000;

export interface AttachLockOptions {
  /** `/run/fairlead/attach.lock` */
  readonly path: string;
  readonly clock: Clock;
  readonly deadlineMs: number;
  /** How long a request lets a daemon go first; for tests, which cannot wait for the usual one. */
  readonly courtesyMs?: number;
}

/**
 * `exclusive`: the daemon, from before its first sweep until it listens. `shared`: one request without
 * a daemon. Throws CniError tryAgainLater after the deadline.
 */
export async function openAttachLock(
  mode: "shared" | "exclusive",
  options: AttachLockOptions,
  signal: AbortSignal,
): Promise<FileLock> {
  const { path, clock, deadlineMs } = options;
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
  try {
    using _turn = await takeTurn(mode, options, signal);
    return await openLock(path, mode, { clock, deadlineMs, signal });
  } catch (cause) {
    if (!hasErrno(cause, "ETIMEDOUT")) throw cause;
    const holder = mode === "shared" ? "the starting daemon" : "a request without the daemon";
    throw new CniError(
      CniCode.tryAgainLater,
      `Cannot lock "${path}" within ${deadlineMs} ms: ${holder} holds it`,
      { cause },
    );
  }
}

/** Held until the lock itself is. A request goes on without it when the daemon has it for too long. */
async function takeTurn(
  mode: "shared" | "exclusive",
  { path, clock, deadlineMs, courtesyMs = usualCourtesyMs }: AttachLockOptions,
  signal: AbortSignal,
): Promise<FileLock | undefined> {
  const turn = join(dirname(path), "attach.turn");
  if (mode === "exclusive") return await openLock(turn, mode, { clock, deadlineMs, signal });
  try {
    return await openLock(turn, mode, { clock, deadlineMs: courtesyMs, signal });
  } catch (error) {
    if (hasErrno(error, "ETIMEDOUT")) return undefined;
    throw error;
  }
}

/** The handlers for a process that serves one request without a daemon: each under the shared lock. */
export function withAttachLock(handlers: CniHandlers, options: AttachLockOptions): CniHandlers {
  const locked = async <Answer>(
    signal: AbortSignal,
    handle: () => Promise<Answer>,
  ): Promise<Answer> => {
    using _lock = await openAttachLock("shared", options, signal);
    return await handle();
  };
  return {
    add: (request, signal) => locked(signal, () => handlers.add(request, signal)),
    del: (request, signal) => locked(signal, () => handlers.del(request, signal)),
    check: (request, signal) => locked(signal, () => handlers.check(request, signal)),
    gc: (request, signal) => locked(signal, () => handlers.gc(request, signal)),
    // Changes nothing, and must answer while a daemon starts.
    status: (request, signal) => handlers.status(request, signal),
  };
}
