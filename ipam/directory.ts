// One network's leases on disk, in host-local's layout: a file per address, `last_reserved_ip.<set>`,
// `lock`. Every method is called with the lock held, and is synchronous so that it is held shortly.
//
// Nothing is synced: after a power cut every lease is of an earlier boot, and a torn file is
// reclaimed. Against the death of this process every step leaves the directory whole: an address file
// appears complete (link) or not at all.
import * as fs from "node:fs";
import { randomInt } from "node:crypto";
import { join } from "node:path";
import { type Ip, parseIp } from "../core/address.ts";
import type { Clock } from "../core/clock.ts";
import { hasErrno } from "../core/error.ts";
import { type Later, atOnce } from "./later.ts";
import { makeDirectories } from "../kernel/make-directories.ts";
import type { DiskWrites } from "./disk-writes.ts";
import type { LeaseEntry } from "./lease-index.ts";
import { type FileStamp, type Owner, formatOwner, isSameFile, parseOwner } from "./lease.ts";

/** What is known of the files before they are looked at. */
export interface FileMemory {
  /** What its name alone says: the file that was read last, or that the journal tells of and nobody freed. */
  readonly seen: (address: Ip) => KnownFile | undefined;
  /** Its file, if it has the stamp: as it was read last, or as the journal has it. */
  readonly known: (address: Ip) => KnownFile | undefined;
}

export interface KnownFile {
  /** Undefined when it could not be read. */
  readonly owner: Owner | undefined;
  readonly stamp: FileStamp;
}

/**
 * `names`: a file whose name is known is taken for the known one. `files`: each is looked at, and taken
 * for another one when it is. A look costs 2 µs, a name half of that.
 */
export type Thoroughness = "names" | "files";

export interface DirectoryContent {
  /** Every lease; those whose file is the known one as they were known. */
  readonly entries: readonly LeaseEntry[];
  readonly lastReserved: Map<number, Ip>;
  /** Addresses whose files were empty or torn, and are gone now. */
  readonly reclaimed: readonly Ip[];
  /** Those of leases that are known: somebody has emptied the file in place, and it is whole again. */
  readonly mended: readonly LeaseEntry[];
}

/** Of which the directory's state is known: equal as long as no file came or went. */
export type DirectoryVersion = string;

// Only the holder of the lock makes it: one name suffices, and what is seen of it is left over.
const temporaryName = ".fairlead-lease";
const usualOwner = 4096;
// Above what an environment variable can hold (MAX_ARG_STRLEN), and with it a container id.
const longestOwner = 136 << 10;
const createFlags = fs.constants.O_WRONLY | fs.constants.O_CREAT | fs.constants.O_EXCL;

export interface OwnerFile {
  readonly stamp: FileStamp;
  /** False when the address's file is there already, whatever is in it. */
  readonly giveName: (address: Ip) => boolean;
}

export class LeaseDirectory {
  readonly path: string;
  readonly lockPath: string;
  readonly #writes: DiskWrites;
  readonly #clock: Clock;
  #isEnsured = false;

  constructor(path: string, clock: Clock, writes: DiskWrites = fs) {
    this.path = path;
    this.lockPath = join(path, "lock");
    this.#clock = clock;
    this.#writes = writes;
  }

  exists(): boolean {
    return fs.existsSync(this.path);
  }

  /** With host-local's modes. Needs no lock. Looks again only after {@link forgetEnsured}. */
  ensure(): void {
    if (this.#isEnsured) return;
    this.#ensure();
    this.#isEnsured = true;
  }

  /** It has gone since. */
  forgetEnsured(): void {
    this.#isEnsured = false;
  }

  #ensure(): void {
    if (fs.existsSync(this.lockPath)) return;
    makeDirectories(this.path, 0o755, (path, options) => this.#writes.mkdirSync(path, options));
    this.#writes.writeFileSync(this.lockPath, "", { flag: "a", mode: 0o750 });
  }

  /**
   * Every lease. A file that is the known one is not opened. Files whose name is no canonical address
   * are nobody's business, and stay.
   */
  read(memory: FileMemory, thoroughness: Thoroughness = "files"): DirectoryContent {
    const entries: LeaseEntry[] = [];
    const lastReserved = new Map<number, Ip>();
    const reclaimed: Ip[] = [];
    const mended: LeaseEntry[] = [];
    for (const name of fs.readdirSync(this.path)) {
      const address = parseIp(name);
      if (address === name) {
        const before = thoroughness === "names" ? memory.seen(address) : undefined;
        const found = before ?? this.#readLease(address, memory);
        const whole = found === "torn" ? this.#mend(address, memory) : found;
        if (whole !== undefined) entries.push([address, whole]);
        if (found !== "torn") continue;
        if (whole === undefined) {
          this.remove(address);
          reclaimed.push(address);
        } else mended.push([address, whole]);
      } else if (name === temporaryName) this.#unlink(name);
      else {
        const set = /^last_reserved_ip\.(\d+)$/.exec(name)?.[1];
        const last =
          set === undefined ? undefined : parseIp(readShort(`${this.path}/${name}`) ?? "");
        if (last !== undefined) lastReserved.set(Number(set), last);
      }
    }
    return { entries, lastReserved, reclaimed, mended };
  }

  #readLease(address: Ip, { known }: FileMemory): KnownFile | "torn" | undefined {
    const path = `${this.path}/${address}`;
    const found = fs.lstatSync(path, { throwIfNoEntry: false });
    if (found === undefined) return undefined;
    const stamp = { inode: found.ino, modifiedMs: found.mtimeMs };
    const before = known(address);
    if (before !== undefined && isSameFile(before.stamp, stamp)) return before;
    const content = found.isFile() ? readShort(path) : undefined;
    if (content === undefined) return { owner: undefined, stamp };
    const owner = parseOwner(content);
    return owner === undefined ? "torn" : { owner, stamp };
  }

  /**
   * Whoever made a file of this boot made it whole: one that is torn was emptied since, while its pod runs.
   * Only the very file that is known; one under the same name may be a crashed host-local's.
   */
  #mend(address: Ip, { seen }: FileMemory): KnownFile | undefined {
    const path = `${this.path}/${address}`;
    const { owner, stamp } = seen(address) ?? {};
    const found = fs.lstatSync(path, { throwIfNoEntry: false });
    if (owner === undefined || found === undefined || found.ino !== stamp?.inode) return undefined;
    const fd = this.#writes.openSync(path, fs.constants.O_WRONLY, 0o600);
    return { owner, stamp: this.#writeOwner(path, fd, owner) };
  }

  /** Whether this very file holds the address still. */
  isStill(address: Ip, stamp: FileStamp): boolean {
    const found = fs.lstatSync(`${this.path}/${address}`, { throwIfNoEntry: false });
    return (
      found !== undefined && isSameFile(stamp, { inode: found.ino, modifiedMs: found.mtimeMs })
    );
  }

  /**
   * The owner's file, without a name that counts. What `work` gives it names for is a lease from then
   * on; it is one file for all addresses of a request, because they say the same. Its own name goes later.
   */
  withOwnerFile<T>(owner: Owner, work: (file: OwnerFile) => T, later: Later = atOnce): T {
    const temporary = `${this.path}/${temporaryName}`;
    try {
      return work({
        stamp: this.#createOwner(temporary, owner),
        giveName: (address) => this.#link(temporary, `${this.path}/${address}`),
      });
    } finally {
      later(() => this.#unlink(temporaryName));
    }
  }

  // Exclusive: one that was left over may be the second name of a lease, and is never written to.
  #createOwner(path: string, owner: Owner): FileStamp {
    return this.#writeOwner(path, this.#writes.openSync(path, createFlags, 0o600), owner);
  }

  /**
   * At its full length from the start: what a power cut leaves of it is empty, whole, or has zeros. Its
   * beginning alone would read as the oldest format. Closes the descriptor.
   */
  #writeOwner(path: string, fd: number, owner: Owner): FileStamp {
    try {
      const text = formatOwner(owner);
      const length = Buffer.byteLength(text);
      this.#writes.ftruncateSync(fd, length);
      if (this.#writes.writeSync(fd, text, 0) !== length) {
        throw new Error(`Cannot write a whole lease to "${path}": the disk is full`);
      }
      const { ino, mtimeMs } = fs.fstatSync(fd);
      return { inode: ino, modifiedMs: mtimeMs };
    } finally {
      fs.closeSync(fd);
    }
  }

  remove(address: Ip): void {
    this.#unlink(address);
  }

  /**
   * In place, and cut only afterwards: ext4 brings a file to the disk at once when it is truncated to
   * nothing and written again (its option auto_da_alloc), which takes 0.2 ms. Torn, it only costs the
   * round robin its place. False where a directory has the name: for a hint no address is refused.
   */
  recordLast(set: number, address: Ip): boolean {
    const path = `${this.path}/last_reserved_ip.${set}`;
    const fd = this.#openUnlessDirectory(path);
    if (fd === undefined) return false;
    try {
      this.#writes.writeSync(fd, address, 0);
      this.#writes.ftruncateSync(fd, address.length);
      return true;
    } finally {
      fs.closeSync(fd);
    }
  }

  #openUnlessDirectory(path: string): number | undefined {
    try {
      return this.#writes.openSync(path, fs.constants.O_RDWR | fs.constants.O_CREAT, 0o600);
    } catch (cause) {
      if (hasErrno(cause, "EISDIR")) return undefined;
      throw cause;
    }
  }

  version(): DirectoryVersion {
    const { ino, mtimeNs } = fs.statSync(this.path, { bigint: true });
    return `${ino}:${mtimeNs}`;
  }

  /**
   * Marks the state as known, and gives its version. Any change by anyone sets the modification time
   * to the present; but a file system's present may stand still for 10 ms, in which two changes look
   * like one. So the known state gets a time in the past that was never used: one to two seconds ago,
   * at a random point, because nothing else tells two processes' marks apart.
   */
  mark(): DirectoryVersion {
    const seconds = this.#clock.nowMs() / 1000 - 1 - randomInt(2 ** 32) / 2 ** 32;
    this.#writes.utimesSync(this.path, seconds, seconds);
    return this.version();
  }

  #link(existing: string, path: string): boolean {
    try {
      this.#writes.linkSync(existing, path);
      return true;
    } catch (cause) {
      if (hasErrno(cause, "EEXIST")) return false;
      throw cause;
    }
  }

  #unlink(name: string): void {
    try {
      this.#writes.unlinkSync(`${this.path}/${name}`);
    } catch (cause) {
      if (!hasErrno(cause, "ENOENT")) throw cause;
    }
  }
}

// Undefined when it cannot be read or is longer than any owner is: then it is nobody's we know.
function readShort(path: string): string | undefined {
  let fd: number | undefined;
  try {
    fd = fs.openSync(path, "r");
    const text = readFrom(fd, usualOwner);
    if (text !== undefined) return text;
    // So long is somebody else's file, unless it is whole and in our format.
    const long = readFrom(fd, longestOwner);
    return long?.includes("\r\n") === true && !long.includes("\0") ? long : undefined;
  } catch {
    return undefined;
  } finally {
    if (fd !== undefined) fs.closeSync(fd);
  }
}

function readFrom(fd: number, most: number): string | undefined {
  const bytes = Buffer.alloc(most);
  const length = fs.readSync(fd, bytes, 0, most, 0);
  return length === most ? undefined : bytes.toString("utf8", 0, length);
}
