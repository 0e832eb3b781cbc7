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
import type { LeaseEntry } from "./lease-index.ts";
import { type Owner, formatOwner, parseOwner } from "./lease.ts";

/** The calls of node:fs that change the disk: a parameter, so that a test stops at any of them. */
export interface DiskWrites {
  mkdirSync(path: string, options: { readonly recursive: true; readonly mode: number }): unknown;
  writeFileSync(
    path: string,
    content: string,
    options: { readonly flag?: string; readonly mode: number },
  ): void;
  openSync(path: string, flags: number, mode: number): number;
  writeSync(fd: number, content: string, position: number): unknown;
  ftruncateSync(fd: number, length: number): void;
  linkSync(existing: string, path: string): void;
  unlinkSync(path: string): void;
  utimesSync(path: string, accessedSeconds: number, modifiedSeconds: number): void;
}

export interface DirectoryContent {
  readonly entries: readonly LeaseEntry[];
  readonly lastReserved: Map<number, Ip>;
  /** Addresses whose files were empty or torn, and are gone now. */
  readonly reclaimed: readonly Ip[];
}

/** Of which the directory's state is known: equal as long as no file came or went. */
export type DirectoryVersion = string;

// Only the holder of the lock makes it: one name suffices, and what is seen of it is left over.
const temporaryName = ".fairlead-lease";
const longestOwner = 4096;

export class LeaseDirectory {
  readonly path: string;
  readonly lockPath: string;
  readonly #writes: DiskWrites;
  readonly #clock: Clock;

  constructor(path: string, clock: Clock, writes: DiskWrites = fs) {
    this.path = path;
    this.lockPath = join(path, "lock");
    this.#clock = clock;
    this.#writes = writes;
  }

  exists(): boolean {
    return fs.existsSync(this.path);
  }

  /** With host-local's modes. Needs no lock. */
  ensure(): void {
    if (fs.existsSync(this.lockPath)) return;
    this.#writes.mkdirSync(this.path, { recursive: true, mode: 0o755 });
    this.#writes.writeFileSync(this.lockPath, "", { flag: "a", mode: 0o750 });
  }

  /** Every lease. Files whose name is no canonical address are nobody's business, and stay. */
  read(): DirectoryContent {
    const entries: LeaseEntry[] = [];
    const lastReserved = new Map<number, Ip>();
    const reclaimed: Ip[] = [];
    for (const entry of fs.readdirSync(this.path, { withFileTypes: true })) {
      const { name } = entry;
      const address = parseIp(name);
      if (address === name) {
        const content = entry.isFile() ? readShort(join(this.path, name)) : undefined;
        const owner = content === undefined ? undefined : parseOwner(content);
        if (content !== undefined && owner === undefined) {
          this.remove(address);
          reclaimed.push(address);
        } else entries.push([address, owner]);
      } else if (name === temporaryName) this.#unlink(name);
      else {
        const set = /^last_reserved_ip\.(\d+)$/.exec(name)?.[1];
        const last =
          set === undefined ? undefined : parseIp(readShort(join(this.path, name)) ?? "");
        if (last !== undefined) lastReserved.set(Number(set), last);
      }
    }
    return { entries, lastReserved, reclaimed };
  }

  /** False when the address's file is there already, whatever is in it. */
  create(address: Ip, owner: Owner): boolean {
    const temporary = join(this.path, temporaryName);
    try {
      // wx: one that was left over may be the second name of a lease, and is never truncated.
      this.#writes.writeFileSync(temporary, formatOwner(owner), { flag: "wx", mode: 0o600 });
      return this.#link(temporary, join(this.path, address));
    } finally {
      this.#unlink(temporaryName);
    }
  }

  remove(address: Ip): void {
    this.#unlink(address);
  }

  /**
   * In place, and cut only afterwards: ext4 brings a file to the disk at once when it is truncated to
   * nothing and written again (its option auto_da_alloc), which takes 0.2 ms. Torn, it only costs the
   * round robin its place.
   */
  recordLast(set: number, address: Ip): void {
    const path = join(this.path, `last_reserved_ip.${set}`);
    const fd = this.#writes.openSync(path, fs.constants.O_RDWR | fs.constants.O_CREAT, 0o600);
    try {
      this.#writes.writeSync(fd, address, 0);
      this.#writes.ftruncateSync(fd, address.length);
    } finally {
      fs.closeSync(fd);
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
      this.#writes.unlinkSync(join(this.path, name));
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
    const bytes = Buffer.alloc(longestOwner);
    const length = fs.readSync(fd, bytes, 0, longestOwner, 0);
    return length === longestOwner ? undefined : bytes.toString("utf8", 0, length);
  } catch {
    return undefined;
  } finally {
    if (fd !== undefined) fs.closeSync(fd);
  }
}
