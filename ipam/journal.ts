// What lies beside one network's lease files: a journal of who was given what, and what was freed.
// Host-local's files alone decide who holds an address; this says since when, for which pod and
// sandbox, and how long ago an address was freed. Used with the network's lock held.
//
// A line is one write to the file's end. Nothing is synced but a journal that is written anew: what a
// power cut takes is about leases of an earlier boot.
import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import { dirname, join } from "node:path";
import { hasErrno } from "../core/error.ts";
import { makeDirectories } from "../kernel/make-directories.ts";
import type { DiskWrites } from "./disk-writes.ts";
import { type JournalEvent, formatEvent, parseEvent } from "./journal-event.ts";

export interface JournalNews {
  /** These are all events; what was read before is of another journal. Otherwise: those since then. */
  readonly isWhole: boolean;
  readonly events: readonly JournalEvent[];
  /** Lines that say nothing: torn, of zeros, or foreign. */
  readonly unreadable: number;
}

interface ReadPart {
  readonly inode: number;
  readonly size: number;
  readonly modifiedMs: number;
  readonly generation: string;
  /** The last line has its end: the next can follow at once. */
  readonly isEnded: boolean;
}

const nothingNew: JournalNews = { isWhole: false, events: [], unreadable: 0 };
const empty: JournalNews = { isWhole: true, events: [], unreadable: 0 };
const appendFlags = fs.constants.O_WRONLY | fs.constants.O_APPEND | fs.constants.O_CREAT;
const headerLength = 64;

export class LeaseJournal {
  readonly path: string;
  readonly #writes: DiskWrites;
  #read: ReadPart | undefined;

  constructor(path: string, writes: DiskWrites = fs) {
    this.path = path;
    this.#writes = writes;
  }

  /** Octets, as far as known. */
  get size(): number {
    return this.#read?.size ?? 0;
  }

  /** The next news are everything again. */
  forget(): void {
    this.#read = undefined;
  }

  /** What others, or this process, have written since the last call. Throws what the disk says. */
  news(): JournalNews {
    const found = fs.statSync(this.path, { throwIfNoEntry: false });
    const known = this.#read;
    if (found === undefined) {
      this.#read = undefined;
      return empty;
    }
    const isKnown = known !== undefined && known.inode === found.ino && known.size <= found.size;
    if (isKnown && known.size === found.size && known.modifiedMs === found.mtimeMs) {
      return nothingNew;
    }
    const fd = fs.openSync(this.path, "r");
    try {
      // Another journal may have got the inode of the one before it.
      const generation = generationOf(readPart(fd, 0, headerLength));
      const isSame = isKnown && generation !== "" && generation === known.generation;
      const from = isSame ? known.size : 0;
      const text = readPart(fd, from, found.size - from);
      this.#read = {
        inode: found.ino,
        size: found.size,
        modifiedMs: found.mtimeMs,
        generation,
        isEnded: text === "" ? (known?.isEnded ?? true) : text.endsWith("\n"),
      };
      return { isWhole: !isSame, ...parseLines(text) };
    } finally {
      fs.closeSync(fd);
    }
  }

  /**
   * Adds the event. Whoever wrote before may have died in the middle of a line: then this one begins
   * with its end. Throws what the disk says; then a part of the line may be there, and says nothing.
   */
  append(event: JournalEvent): void {
    const fd = this.#open();
    try {
      const { ino, size, mtimeMs } = fs.fstatSync(fd);
      const known = this.#read;
      const isKnown = known?.inode === ino && known.size === size && known.modifiedMs === mtimeMs;
      this.#read = undefined;
      const header = size === 0 ? newHeader() : undefined;
      const isEnded = header !== undefined || (isKnown && known.isEnded);
      const text = (header?.text ?? (isEnded ? "" : "\n")) + formatEvent(event);
      const written = this.#writes.writeSync(fd, text, null);
      if (written !== Buffer.byteLength(text)) {
        throw new Error(`Cannot write a whole line to "${this.path}": the disk is full`);
      }
      const generation = header?.generation ?? known?.generation;
      if (generation === undefined || !(isKnown || header !== undefined)) return;
      this.#read = {
        inode: ino,
        size: size + written,
        modifiedMs: fs.fstatSync(fd).mtimeMs,
        generation,
        isEnded: true,
      };
    } finally {
      fs.closeSync(fd);
    }
  }

  /** Puts a journal of these events in its place, whole or not at all, also in a power cut. */
  replace(events: readonly JournalEvent[]): void {
    const temporary = join(dirname(this.path), ".fairlead-journal");
    const text = newHeader().text + events.map(formatEvent).join("");
    this.#writes.writeFileSync(temporary, text, { mode: 0o600 });
    const fd = fs.openSync(temporary, "r+");
    try {
      fs.fdatasyncSync(fd);
    } finally {
      fs.closeSync(fd);
    }
    this.#writes.renameSync(temporary, this.path);
    this.#read = undefined;
  }

  #open(): number {
    try {
      return this.#writes.openSync(this.path, appendFlags, 0o600);
    } catch (cause) {
      if (!hasErrno(cause, "ENOENT")) throw cause;
      makeDirectories(dirname(this.path), 0o700, (path, options) =>
        this.#writes.mkdirSync(path, options),
      );
      return this.#writes.openSync(this.path, appendFlags, 0o600);
    }
  }
}

function newHeader(): { readonly generation: string; readonly text: string } {
  const generation = randomBytes(8).toString("hex");
  return { generation, text: formatEvent({ kind: "journal", generation }) };
}

/** Empty when the journal does not begin as one does: then it is read whole every time. */
function generationOf(text: string): string {
  const event = parseEvent(text.slice(0, text.indexOf("\n")));
  return event?.kind === "journal" ? event.generation : "";
}

function parseLines(text: string): Omit<JournalNews, "isWhole"> {
  const events: JournalEvent[] = [];
  let unreadable = 0;
  for (const line of text.split("\n")) {
    if (line === "") continue;
    const event = parseEvent(line);
    if (event === undefined) unreadable++;
    else if (event.kind !== "journal") events.push(event);
  }
  return { events, unreadable };
}

function readPart(fd: number, from: number, length: number): string {
  const octets = Buffer.alloc(length);
  let filled = 0;
  while (filled < length) {
    const count = fs.readSync(fd, octets, filled, length - filled, from + filled);
    if (count === 0) break;
    filled += count;
  }
  return octets.toString("utf8", 0, filled);
}
