// The claims of a cluster whose nodes share a file system: the labs of one machine, or processes of it.
// One file per key, appearing whole by link(2) and replaced whole by rename(2), under one lock. Synced,
// because a claim must outlive a power cut as the addresses given of it may (and there are few of them).
import { randomUUID } from "node:crypto";
import {
  closeSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import type { Clock } from "../../core/clock.ts";
import { hasErrno } from "../../core/error.ts";
import { paths } from "../../core/paths.ts";
import { openLock } from "../../kernel/flock.ts";
import type { ClaimEntry, ClaimStore, WriteResult } from "./store.ts";

export interface FileStoreOptions {
  /** Default: `/var/lib/fairlead/claims`. */
  readonly directory?: string;
  readonly clock: Clock;
  /** How long to wait for the lock. */
  readonly lockDeadlineMs?: number;
}

const standardLockDeadlineMs = 5000;
const lockName = ".lock";
// Only the holder of the lock makes it: one name suffices, and what is seen of it is left over.
const temporaryName = ".new";

/** Touches nothing before it is used: the directory appears with the first write. */
export const openFileStore = (options: FileStoreOptions): ClaimStore => new FileStore(options);

class FileStore implements ClaimStore {
  readonly #options: FileStoreOptions;
  readonly #directory: string;

  constructor(options: FileStoreOptions) {
    this.#options = options;
    this.#directory = options.directory ?? paths.claims;
  }

  async get(key: string): Promise<ClaimEntry | undefined> {
    return this.#read(key);
  }

  async list(prefix: string): Promise<readonly ClaimEntry[]> {
    const start = fileOf(prefix);
    return namesIn(this.#directory)
      .filter((name) => name.startsWith(start) && !name.startsWith("."))
      .flatMap((name) => this.#read(keyOf(name)) ?? [])
      .sort((a, b) => (a.key < b.key ? -1 : 1));
  }

  create(key: string, value: string, signal: AbortSignal): Promise<WriteResult> {
    return this.#locked(signal, () => {
      const revision = this.#writeTemporary(value);
      try {
        linkSync(this.#path(temporaryName), this.#path(fileOf(key)));
      } catch (cause) {
        if (hasErrno(cause, "EEXIST")) return { kind: "conflict" };
        throw cause;
      } finally {
        rmSync(this.#path(temporaryName), { force: true });
      }
      this.#syncDirectory();
      return { kind: "written", revision };
    });
  }

  replace(entry: ClaimEntry, signal: AbortSignal): Promise<WriteResult> {
    return this.#locked(signal, () => {
      if (this.#read(entry.key)?.revision !== entry.revision) return { kind: "conflict" };
      const revision = this.#writeTemporary(entry.value);
      renameSync(this.#path(temporaryName), this.#path(fileOf(entry.key)));
      this.#syncDirectory();
      return { kind: "written", revision };
    });
  }

  remove(key: string, revision: string, signal: AbortSignal): Promise<WriteResult> {
    return this.#locked(signal, () => {
      if (this.#read(key)?.revision !== revision) return { kind: "conflict" };
      rmSync(this.#path(fileOf(key)));
      this.#syncDirectory();
      return { kind: "written", revision };
    });
  }

  async #locked(signal: AbortSignal, work: () => WriteResult): Promise<WriteResult> {
    const { clock, lockDeadlineMs: deadlineMs = standardLockDeadlineMs } = this.#options;
    mkdirSync(this.#directory, { recursive: true, mode: 0o755 });
    const wait = { deadlineMs, clock, signal };
    using _lock = await openLock(this.#path(lockName), "exclusive", wait);
    return work();
  }

  /** The first line is the revision: a text that no other write has, of whatever process. */
  #writeTemporary(value: string): string {
    const path = this.#path(temporaryName);
    // One that was left over may be the second name of a claim, and is never written into.
    rmSync(path, { force: true });
    const revision = randomUUID();
    writeFileSync(path, `${revision}\n${value}`, { flag: "wx", mode: 0o644, flush: true });
    return revision;
  }

  #syncDirectory(): void {
    const fd = openSync(this.#directory, "r");
    try {
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  }

  #read(key: string): ClaimEntry | undefined {
    const path = this.#path(fileOf(key));
    let text: string;
    try {
      text = readFileSync(path, "utf8");
    } catch (cause) {
      if (hasErrno(cause, "ENOENT")) return undefined;
      throw cause;
    }
    const end = text.indexOf("\n");
    // Somebody wrote it who is not us. It counts as there, and no write of ours meets its revision.
    if (end < 0) return { key, value: text, revision: "" };
    return { key, value: text.slice(end + 1), revision: text.slice(0, end) };
  }

  #path(name: string): string {
    return join(this.#directory, name);
  }
}

function namesIn(directory: string): readonly string[] {
  try {
    return readdirSync(directory);
  } catch (cause) {
    if (hasErrno(cause, "ENOENT")) return [];
    throw cause;
  }
}

// blocks/10.244.1.0-24 is the file blocks%2F10.244.1.0-24. No key begins with a dot.
const fileOf = (key: string): string => encodeURIComponent(key).replace(/^\./, "%2E");
const keyOf = (name: string): string => decodeURIComponent(name);
