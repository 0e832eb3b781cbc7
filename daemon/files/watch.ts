// Directories watched for change: a notification, coalesced, and a look every now and then in case
// one was lost (network file systems give none).
import { type FSWatcher, statSync, watch } from "node:fs";
import { join } from "node:path";

export interface WatchTiming {
  /** Quiet time after a notification before the callback: a file is seldom written in one piece. */
  readonly quietMs: number;
  /** The callback comes at the latest this long after the first notification. */
  readonly atMostMs: number;
  /** Without any notification. */
  readonly everyMs: number;
}

interface Watched {
  readonly watcher: FSWatcher;
  readonly identity: string;
}

/** Inode numbers are used again at once: the time of birth tells a directory from its successor. */
function identityOf(path: string): string | undefined {
  const stats = statSync(path, { bigint: true, throwIfNoEntry: false });
  return stats && `${stats.dev} ${stats.ino} ${stats.birthtimeNs}`;
}

/**
 * The paths that notifications named since the last call; undefined where anything may have changed,
 * and when it is only time for a look.
 */
export type OnDirectoryChange = (paths: ReadonlySet<string> | undefined) => void;

/** Of more changes than this the paths are not kept. */
const pathsMax = 1000;

export class DirectoryWatch implements Disposable {
  readonly #onChange: OnDirectoryChange;
  readonly #timing: WatchTiming;
  readonly #watched = new Map<string, Watched>();
  #timer: NodeJS.Timeout | undefined;
  /** When the first notification not yet passed on came; undefined: none. */
  #since: number | undefined;
  #paths: Set<string> | undefined = new Set();
  #isDisposed = false;

  constructor(onChange: OnDirectoryChange, timing: WatchTiming) {
    this.#onChange = onChange;
    this.#timing = timing;
  }

  /**
   * Watches these directories and no others. True when one of them is new here: what happened to it
   * before went unseen. One that cannot be watched is looked at in time.
   */
  follow(directories: ReadonlySet<string>): boolean {
    for (const [directory, { watcher, identity }] of this.#watched) {
      // Another directory, or none, has taken the name: notifications would be of the old one.
      if (directories.has(directory) && identity === identityOf(directory)) continue;
      watcher.close();
      this.#watched.delete(directory);
    }
    const missing = [...directories].filter((directory) => !this.#watched.has(directory));
    return missing.map((directory) => this.#open(directory)).includes(true);
  }

  /** Calls back after the quiet time, or in `afterMs` where nothing has happened. */
  expect(afterMs: number = this.#timing.everyMs): void {
    if (this.#since !== undefined) return;
    this.#start(afterMs);
  }

  #open(directory: string): boolean {
    const identity = identityOf(directory);
    if (identity === undefined) return false;
    try {
      const watcher = watch(directory, (_event, name) => {
        this.#notice(name === null ? undefined : join(directory, name));
      });
      // Closed by itself after an error; follow() opens it again.
      watcher.on("error", () => void this.#watched.delete(directory));
      this.#watched.set(directory, { watcher, identity });
      return true;
    } catch {
      return false; // Not there any more, or no watches left.
    }
  }

  #notice(path: string | undefined): void {
    if (path === undefined || (this.#paths?.size ?? pathsMax) >= pathsMax) this.#paths = undefined;
    else this.#paths?.add(path);
    const now = performance.now();
    this.#since ??= now;
    const { quietMs, atMostMs } = this.#timing;
    this.#start(Math.max(0, Math.min(quietMs, this.#since + atMostMs - now)));
  }

  #start(afterMs: number): void {
    clearTimeout(this.#timer);
    if (this.#isDisposed) return;
    this.#timer = setTimeout(() => {
      const paths = this.#since === undefined ? undefined : this.#paths;
      this.#since = undefined;
      this.#paths = new Set();
      this.#onChange(paths);
    }, afterMs);
  }

  [Symbol.dispose](): void {
    this.#isDisposed = true;
    clearTimeout(this.#timer);
    for (const { watcher } of this.#watched.values()) watcher.close();
    this.#watched.clear();
  }
}
