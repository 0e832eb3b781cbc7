// The cluster from a directory of Kubernetes manifests.
import {
  closeSync,
  type Dirent,
  fstatSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
} from "node:fs";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { emptySnapshot } from "../../core/cluster/model.ts";
import { describeError, hasErrno } from "../../core/error.ts";
import type { Log } from "../../core/log.ts";
import { DirectoryWatch, type WatchTiming } from "../watch.ts";
import { type Manifest, parseManifest } from "./manifest.ts";
import { ManifestSet } from "./manifest-set.ts";
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
const largestFile = 32 * 1024 * 1024;
/** The event loop gets its turn after this much reading and parsing. */
const sliceMs = 10;

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
  #state: SourceState = { snapshot: emptySnapshot, problems: [] };
  #isScanning = false;
  #isDisposed = false;

  constructor({ directory, log, timing = usualTiming }: FileSourceOptions) {
    this.location = directory;
    this.#log = log;
    this.#missingMs = timing.missingMs;
    this.#watch = new DirectoryWatch(() => void this.#scan(), timing);
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
    this.#isDisposed = true;
    this.#watch[Symbol.dispose]();
    this.#listeners.clear();
  }

  async #scan(): Promise<void> {
    // A notification during a scan starts the timer again: what it is about is read next time.
    if (this.#isScanning) return this.#watch.expect(sliceMs);
    this.#isScanning = true;
    try {
      const found = listManifests(this.location);
      const isNew = this.#watch.follow(found.directories);
      const isSettled = await this.#read(found.files);
      if (this.#isDisposed) return;
      this.#publish([], isSettled);
      this.#watch.expect(isNew || !isSettled ? sliceMs : undefined);
    } catch (error) {
      if (this.#isDisposed) return;
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

  /** Reads what is new. False when a file was being written, and so was left for the next time. */
  async #read(files: readonly string[]): Promise<boolean> {
    let isSettled = true;
    let sliceStart = performance.now();
    for (const path of files) {
      const read = readManifest(path, this.#stamps.get(path));
      if (read.kind === "unchanged") continue;
      if (read.kind === "changing") isSettled = false;
      if (read.kind === "read") this.#take(path, read.stamp, read.manifest);
      if (performance.now() - sliceStart < sliceMs) continue;
      await setImmediate();
      if (this.#isDisposed) return false;
      sliceStart = performance.now();
    }
    const present = new Set(files);
    for (const path of [...this.#stamps.keys()].filter((known) => !present.has(known))) {
      this.#stamps.delete(path);
      this.#manifests.remove(path);
    }
    return isSettled;
  }

  #take(path: string, stamp: string, manifest: Manifest): void {
    this.#stamps.set(path, stamp);
    this.#manifests.set(path, manifest);
    if (manifest.kind === "valid" && manifest.ignored.length > 0) {
      this.#log.info({ path, ignored: manifest.ignored }, "ignored objects that are not used");
    }
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

/**
 * Manifests in the directory and in directories, or links to such, right below it, sorted. Names that
 * editors and copying tools use for what is not finished are left out, as are hidden ones: `..data` of
 * a ConfigMap volume is where its visible links lead.
 */
export function listManifests(directory: string): {
  readonly files: readonly string[];
  readonly directories: ReadonlySet<string>;
} {
  const files: string[] = [];
  const directories = new Set([directory]);
  const visit = (path: string, entries: readonly Dirent[], isTop: boolean): void => {
    for (const entry of entries) {
      if (entry.name.startsWith(".")) continue;
      const inner = join(path, entry.name);
      if (isManifestName(entry.name)) files.push(inner);
      else if (isTop && isDirectory(inner, entry)) {
        directories.add(inner);
        visit(inner, readdirSync(inner, { withFileTypes: true }), false);
      }
    }
  };
  visit(directory, readdirSync(directory, { withFileTypes: true }), true);
  return { files: files.sort(), directories };
}

const isManifestName = (name: string): boolean => /^[^.#~].*\.(ya?ml|json)$/.test(name);

function isDirectory(path: string, entry: Dirent): boolean {
  if (!entry.isSymbolicLink()) return entry.isDirectory();
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

type ReadManifest =
  | { readonly kind: "unchanged" }
  /** Somebody is writing it. */
  | { readonly kind: "changing" }
  | { readonly kind: "read"; readonly stamp: string; readonly manifest: Manifest };

function readManifest(path: string, lastStamp: string | undefined): ReadManifest {
  const fail = (stamp: string, message: string): ReadManifest =>
    stamp === lastStamp
      ? { kind: "unchanged" }
      : { kind: "read", stamp, manifest: { kind: "invalid", problems: [{ line: 1, message }] } };
  try {
    const stats = statSync(path, { bigint: true });
    const stamp = stampOf(stats);
    if (stamp === lastStamp) return { kind: "unchanged" };
    if (!stats.isFile()) return fail(stamp, "Cannot read it: expected a regular file");
    if (stats.size > largestFile) {
      return fail(stamp, `Cannot use ${stats.size} octets: expected at most ${largestFile}`);
    }
    const fd = openSync(path, "r");
    try {
      const text = readFileSync(fd, "utf8");
      const after = stampOf(fstatSync(fd, { bigint: true }));
      if (after !== stamp) return { kind: "changing" };
      return { kind: "read", stamp, manifest: parseManifest(text) };
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    const message = describeError(error);
    return fail(message, `Cannot read it: ${message}`);
  }
}

const stampOf = (stats: {
  readonly dev: bigint;
  readonly ino: bigint;
  readonly size: bigint;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
}): string => [stats.dev, stats.ino, stats.size, stats.mtimeNs, stats.ctimeNs].join(":");
