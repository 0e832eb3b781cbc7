// The cluster from a directory of Kubernetes manifests.
import { lstatSync, statSync } from "node:fs";
import { basename, dirname } from "node:path";
import { emptySnapshot } from "../../core/cluster/model.ts";
import { describeError, hasErrno } from "../../core/error.ts";
import type { Log } from "../../core/log.ts";
import { DirectoryWatch, type WatchTiming } from "../files/watch.ts";
import { isManifestName, type ListedManifests, listManifests } from "./list-manifests.ts";
import { readManifests } from "./manifest-reader.ts";
import { ManifestSet } from "./manifest-set.ts";
import type { ReadManifest } from "./read-manifest.ts";
import type { Source, SourceState } from "./source.ts";

export interface FileSourceOptions {
  readonly directory: string;
  readonly log: Log;
  readonly timing?: FileSourceTiming;
}

export interface FileSourceTiming extends WatchTiming {
  /** How often to look for a directory that is not there, of which nothing notifies. */
  readonly missingMs: number;
}

// A write by rename is seen at once; the quiet time is for editors and scripts that write in place.
const usualTiming: FileSourceTiming = {
  quietMs: 20,
  atMostMs: 200,
  everyMs: 30_000,
  missingMs: 1000,
};
/** When a scan is due and one is at work. */
const againMs = 10;
/**
 * When nothing has happened, so many files are looked at in turn, and the directories: the work does not
 * grow with the cluster. Only what changes a file in place without a notification waits for its turn.
 */
const filesPerLook = 256;

/** Starts reading; the first complete scan is the first change that subscribers see. */
export function openFileSource(options: FileSourceOptions): Source {
  return new FileSource(options);
}

class FileSource implements Source {
  readonly kind = "file";
  readonly location: string;
  readonly #log: Log;
  readonly #missingMs: number;
  readonly #watch: DirectoryWatch;
  readonly #manifests = new ManifestSet();
  /** What identifies the version of each file that was read last. */
  readonly #stamps = new Map<string, string>();
  readonly #listeners = new Set<(state: SourceState) => void>();
  readonly #disposal = new AbortController();
  #state: SourceState = { snapshot: emptySnapshot, problems: [] };
  /** The last complete scan, with what identified its directories' contents; undefined: another is due. */
  #listed: (ListedManifests & { readonly stamp: string }) | undefined;
  #directories: ReadonlySet<string>;
  #looked = 0;
  #isScanning = false;

  constructor({ directory, log, timing = usualTiming }: FileSourceOptions) {
    this.location = directory;
    this.#directories = new Set([directory]);
    this.#log = log;
    this.#missingMs = timing.missingMs;
    this.#watch = new DirectoryWatch((paths) => void this.#scan(paths), timing);
    this.#watch.follow(new Set([directory]));
    this.#watch.expect(0);
  }

  state(): SourceState {
    return this.#state;
  }

  subscribe(listener: (state: SourceState) => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  [Symbol.dispose](): void {
    this.#disposal.abort();
    this.#watch[Symbol.dispose]();
    this.#listeners.clear();
  }

  async #scan(paths: ReadonlySet<string> | undefined): Promise<void> {
    // A notification during a scan starts the timer again: what it is about is read next time.
    if (this.#isScanning) {
      if (paths !== undefined) this.#listed = undefined;
      return this.#watch.expect(againMs);
    }
    this.#isScanning = true;
    try {
      const isSettled = await this.#read(this.#filesToLookAt(paths) ?? this.#list());
      if (this.#disposal.signal.aborted) return;
      this.#publish([], isSettled);
      if (!isSettled) this.#listed = undefined;
      this.#watch.expect(this.#listed === undefined ? againMs : undefined);
    } catch (error) {
      if (this.#disposal.signal.aborted) return;
      this.#listed = undefined;
      const isMissing = hasErrno(error, "ENOENT", "ENOTDIR");
      const problem = isMissing
        ? `Cannot find the directory ${this.location}: expected the cluster's manifests in it`
        : `Cannot read the directory ${this.location}: ${describeError(error)}`;
      this.#publish([problem], false);
      this.#watch.expect(this.#missingMs);
    } finally {
      this.#isScanning = false;
    }
  }

  /** Undefined when only a complete scan will do. */
  #filesToLookAt(paths: ReadonlySet<string> | undefined): readonly string[] | undefined {
    const listed = this.#listed;
    if (listed === undefined || listed.hasLinks) return undefined;
    if (paths !== undefined) {
      const isClear = [...paths].every((path) => isFileOrNothing(path, listed.directories));
      return isClear ? [...paths].filter((path) => isManifestName(basename(path))) : undefined;
    }
    if (directoryStamp(listed.directories) !== listed.stamp) return undefined;
    const known = [...this.#stamps.keys()];
    const from = this.#looked < known.length ? this.#looked : 0;
    this.#looked = from + filesPerLook;
    return known.slice(from, this.#looked);
  }

  #list(): readonly string[] {
    this.#listed = undefined;
    // Before the listing: what comes after it has another stamp.
    const stamp = directoryStamp(this.#directories);
    const found = listManifests(this.location);
    const isNew = this.#watch.follow(found.directories);
    const isSame = sameTexts([...found.directories], [...this.#directories]);
    this.#directories = found.directories;
    const present = new Set(found.files);
    for (const path of this.#stamps.keys()) if (!present.has(path)) this.#forget(path);
    // What happened in a directory before it was watched is found the next time.
    if (!isNew && isSame) this.#listed = { ...found, stamp };
    return found.files;
  }

  /** Reads what is new. False when a file was being written, and so was left for the next time. */
  async #read(files: readonly string[]): Promise<boolean> {
    let isSettled = true;
    await readManifests({
      paths: files,
      stampOf: (path) => this.#stamps.get(path),
      take: (path, read) => {
        if (read.kind === "changing") isSettled = false;
        else this.#take(path, read);
      },
      signal: this.#disposal.signal,
    });
    return isSettled;
  }

  #take(path: string, read: Exclude<ReadManifest, { readonly kind: "changing" }>): void {
    if (read.kind === "unchanged") return;
    const { stamp, manifest } = read;
    // A link that leads nowhere is there, and is a problem; a name that has gone is none.
    if (manifest.kind === "invalid" && !isThere(path)) return this.#forget(path);
    this.#stamps.set(path, stamp);
    this.#manifests.set(path, manifest);
    if (manifest.kind === "valid" && manifest.ignored.length > 0) {
      this.#log.info({ path, ignored: manifest.ignored }, "ignored objects that are not used");
    }
  }

  #forget(path: string): void {
    this.#stamps.delete(path);
    this.#manifests.remove(path);
  }

  #publish(scanProblems: readonly string[], isSettled: boolean): void {
    const { problems: fileProblems, hasChanged } = this.#manifests.settle();
    const problems = [...scanProblems, ...fileProblems];
    const before = this.#state;
    // Once complete, always complete: a file that breaks later has its last good version.
    const isInSync = before.snapshot.isInSync || (isSettled && problems.length === 0);
    const isSame = sameTexts(problems, before.problems);
    if (!hasChanged && isInSync === before.snapshot.isInSync && isSame) return;
    const snapshot = this.#manifests.snapshot(before.snapshot.revision + 1, isInSync);
    this.#state = { snapshot, problems };
    if (!isSame)
      for (const problem of problems) this.#log.warn({ problem }, "cannot use a manifest");
    for (const listener of this.#listeners) listener(this.#state);
  }
}

const sameTexts = (a: readonly string[], b: readonly string[]): boolean =>
  a.length === b.length && a.every((text, i) => text === b[i]);

/** Empty when one cannot be looked at: it is never the same then. */
function directoryStamp(directories: ReadonlySet<string>): string {
  const stamps = Array.from(directories, (directory) => {
    const stats = statSync(directory, { bigint: true, throwIfNoEntry: false });
    return stats === undefined ? `gone ${performance.now()}` : `${stats.ino} ${stats.mtimeNs}`;
  });
  return stamps.join();
}

const isThere = (path: string): boolean => lstatSync(path, { throwIfNoEntry: false }) !== undefined;

/**
 * False for what may be, or has been, a directory or a link, and where the directory has gone, perhaps
 * with its files to another place: more than this name may be about it.
 */
function isFileOrNothing(path: string, directories: ReadonlySet<string>): boolean {
  if (directories.has(path) || basename(path).startsWith("..")) return false;
  if (!isThere(dirname(path))) return false;
  const stats = lstatSync(path, { throwIfNoEntry: false });
  return stats === undefined || stats.isFile();
}
