// One file per attachment under /run/fairlead/attachments: what CHECK, GC and a repeated ADD rest on,
// and how the daemon finds at start what a killed request left behind. Written before anything can reach
// the pod, by rename, so that a reader sees a whole file or none.
import {
  closeSync,
  existsSync,
  fstatSync,
  openSync,
  readdirSync,
  renameSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import type { Ip } from "../core/address.ts";
import type { Clock } from "../core/clock.ts";
import { CniCode, CniError } from "../core/cni/error.ts";
import { describeError, hasErrno } from "../core/error.ts";
import type { Log } from "../core/log.ts";
import {
  type AttachmentKey,
  attachmentHash,
  hostInterfaceName,
  interfacePrefix,
} from "../core/names.ts";
import { type LockWait, openLock, tryLock } from "../kernel/flock.ts";
import type { FileLock } from "../kernel/kernel.ts";
import { type AttachmentRecord, formatRecord } from "./record-file.ts";
import { type HostPortClaim, RecordIndex, type RecordList, versionOf } from "./record-index.ts";

export type { AttachmentRecord, RecordedIpam, Wired, WiredRecord } from "./record-file.ts";
export type { HostPortClaim, RecordList } from "./record-index.ts";

export interface RecordStore {
  /** The attachment's record; undefined when there is none, or none that can be read (logged). */
  read(key: AttachmentKey): AttachmentRecord | undefined;
  /** The record of the attachment that has this host interface; undefined likewise. */
  readOf(hostInterface: string): AttachmentRecord | undefined;
  /** Every record, and the files that are none: the same object while there are no others. */
  list(): RecordList;
  /** The attachments that claim host ports, those first that began first. */
  hostPortClaims(): readonly HostPortClaim[];
  /**
   * Those that claim one of these ports, as far as the last look at the files and what this process wrote since
   * tell: it costs no look.
   */
  claimantsOf(ports: readonly number[]): readonly HostPortClaim[];
  /** Of every attachment to the network that has got its addresses. */
  podAddresses(network: string): readonly Ip[];
  write(record: AttachmentRecord): void;
  /** Removes all that is kept of the attachment. Nothing kept is no failure. */
  remove(key: AttachmentKey): void;
  /** Removes what killed requests left beside records. Only while no request is at work. */
  removeStrays(): void;
  /**
   * Excludes every other request for the attachment, in this process and others. Throws CniError
   * tryAgainLater when another one takes too long.
   */
  lock(key: AttachmentKey, signal: AbortSignal): Promise<FileLock>;
  /** As `lock`, but undefined at once while a request for the attachment is at work. */
  tryLock(key: AttachmentKey): FileLock | undefined;
  /** The same of the attachment that has this host interface. */
  tryLockOf(hostInterface: string): FileLock | undefined;
}

export interface RecordOptions {
  readonly directory: string;
  readonly clock: Clock;
  readonly log: Log;
  /** How long a request waits for another one of the same attachment. */
  readonly lockDeadlineMs?: number;
}

// Below the 20 s that a whole request may take: who waits still gets an answer of its own.
const defaultLockDeadlineMs = 10_000;

/** Makes the directory when it is used and missing; only root may read it. */
export const openRecords = (options: RecordOptions): RecordStore => new RecordDirectory(options);

class RecordDirectory implements RecordStore {
  readonly #options: RecordOptions;
  readonly #index: RecordIndex;

  constructor(options: RecordOptions) {
    this.#options = options;
    this.#index = new RecordIndex(options.directory, options.clock);
  }

  hostPortClaims(): readonly HostPortClaim[] {
    return this.#index.claims();
  }

  claimantsOf(ports: readonly number[]): readonly HostPortClaim[] {
    return this.#index.claimantsOf(ports);
  }

  podAddresses(network: string): readonly Ip[] {
    return this.#index.podAddresses(network);
  }

  read(key: AttachmentKey): AttachmentRecord | undefined {
    return this.#readAt(this.#pathOf(key, "json"));
  }

  readOf(hostInterface: string): AttachmentRecord | undefined {
    return this.#readAt(this.#pathOfInterface(hostInterface, "json"));
  }

  #readAt(path: string): AttachmentRecord | undefined {
    const file = this.#index.load(path);
    if (file.kind === "record") return file.record;
    if (file.kind === "unreadable") {
      const { problem } = file;
      this.#options.log.warn({ path, problem }, "attachment record is unreadable: taken as absent");
    }
    return undefined;
  }

  list(): RecordList {
    return this.#index.list();
  }

  write(record: AttachmentRecord): void {
    // The attachment's lock is held, so that nobody else writes the same temporary file.
    const temporary = this.#pathOf(record.key, "tmp");
    const text = formatRecord(record);
    const path = this.#pathOf(record.key, "json");
    try {
      const version = writeText(temporary, text);
      renameSync(temporary, path);
      this.#index.note(path, version, { kind: "record", record });
    } catch (cause) {
      throw this.#failure(cause);
    }
  }

  remove(key: AttachmentKey): void {
    this.#index.forget(this.#pathOf(key, "json"));
    for (const suffix of ["json", "tmp"]) removeFile(this.#pathOf(key, suffix));
  }

  removeStrays(): void {
    for (const path of this.#files(/^[0-9a-f]{12}\.(lock|tmp)$/)) removeFile(path);
  }

  tryLock(key: AttachmentKey): FileLock | undefined {
    return this.tryLockOf(hostInterfaceName(key));
  }

  tryLockOf(hostInterface: string): FileLock | undefined {
    const lock = tryLock(this.#pathOfInterface(hostInterface, "lock"), "exclusive");
    return lock && removedWhenDone(lock);
  }

  async lock(key: AttachmentKey, signal: AbortSignal): Promise<FileLock> {
    const { clock, lockDeadlineMs: deadlineMs = defaultLockDeadlineMs } = this.#options;
    const wait = { deadlineMs, clock, signal };
    try {
      return removedWhenDone(await this.#openLock(this.#pathOf(key, "lock"), wait));
    } catch (cause) {
      if (signal.aborted) throw cause;
      if (!hasErrno(cause, "ETIMEDOUT")) throw this.#failure(cause);
      throw new CniError(
        CniCode.tryAgainLater,
        `Cannot begin: another request for container "${key.containerId}" interface "${key.ifName}" is still at work after ${deadlineMs} ms`,
        { cause },
      );
    }
  }

  #failure(cause: unknown): CniError {
    return new CniError(
      CniCode.ioFailure,
      `Cannot keep the attachment's record in "${this.#options.directory}"`,
      { cause, details: describeError(cause) },
    );
  }

  async #openLock(path: string, wait: LockWait): Promise<FileLock> {
    try {
      return await openLock(path, "exclusive", wait);
    } catch (cause) {
      if (!hasErrno(cause, "ENOENT")) throw cause;
      // Every request begins here. The directory may have been removed since the last one.
      this.#index.makeDirectory();
      return openLock(path, "exclusive", wait);
    }
  }

  #pathOf(key: AttachmentKey, suffix: string): string {
    return `${this.#options.directory}/${attachmentHash(key)}.${suffix}`;
  }

  #pathOfInterface(hostInterface: string, suffix: string): string {
    return `${this.#options.directory}/${hostInterface.slice(interfacePrefix.length)}.${suffix}`;
  }

  #files(pattern: RegExp): string[] {
    const { directory } = this.#options;
    this.#index.makeDirectory();
    const names = readdirSync(directory).filter((name) => pattern.test(name));
    return names.sort().map((name) => `${directory}/${name}`);
  }
}

// A lock on a file that its holder removed counts for nobody (kernel/flock.ts), so none need stay.
const removedWhenDone = (lock: FileLock): FileLock => ({
  path: lock.path,
  [Symbol.dispose]: () => {
    unlinkIfThere(lock.path);
    lock[Symbol.dispose]();
  },
});

/** The version of the file as written. */
function writeText(path: string, text: string): string {
  const fd = openSync(path, "w", 0o600);
  try {
    writeFileSync(fd, text);
    return versionOf(fstatSync(fd));
  } finally {
    closeSync(fd);
  }
}

// rmSync does the same in three times the time: it looks twice at what it removes.
function removeFile(path: string): void {
  if (existsSync(path)) unlinkIfThere(path);
}

function unlinkIfThere(path: string): void {
  try {
    unlinkSync(path);
  } catch (cause) {
    if (!hasErrno(cause, "ENOENT")) throw cause;
  }
}
