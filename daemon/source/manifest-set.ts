// The files of a cluster, together: which version of each is used, and the snapshot they make.
import { isDeepStrictEqual } from "node:util";
import type { Snapshot } from "../../core/cluster/model.ts";
import type { Problem } from "../files/validate.ts";
import type { Manifest, ManifestObject } from "./manifest.ts";
import { SnapshotBuilder } from "./snapshot-builder.ts";

type Objects = readonly ManifestObject[];

interface File {
  /** What was read last. */
  newest: Manifest;
  /** What is used: the newest version, or the last good one; absent: nothing of the file. */
  used: Objects | undefined;
}

/**
 * Keeps each file whole: all of its newest version is used, or all of its last good one. A file that
 * repeats an object of another is refused; the file that had the object first keeps it, and among new
 * files the one whose path sorts first.
 */
export class ManifestSet {
  readonly #files = new Map<string, File>();
  /** Which file has the object that is used, by its key. */
  readonly #owners = new Map<string, string>();
  /** Paths that were set since the last settle(). */
  readonly #touched = new Set<string>();
  #problems: readonly string[] = [];
  readonly #snapshot = new SnapshotBuilder();
  /** A file that was used has gone since the last settle(). */
  #hasLost = false;

  /** Takes what was read of a file; settle() decides about it. */
  set(path: string, newest: Manifest): void {
    const file = this.#files.get(path);
    if (file === undefined) this.#files.set(path, { newest, used: undefined });
    else file.newest = keepUnchanged(newest, file.used);
    this.#touched.add(path);
  }

  /** The file is gone, and what it said with it. */
  remove(path: string): void {
    const used = this.#files.get(path)?.used;
    this.#files.delete(path);
    this.#touched.delete(path);
    if (used === undefined) return;
    this.#hasLost = true;
    this.#use(path, used, undefined);
  }

  /** Which version of each file is used from now on, and what is wrong with those that are not. */
  settle(): { readonly problems: readonly string[]; readonly hasChanged: boolean } {
    let hasChanged = this.#hasLost;
    this.#hasLost = false;
    if (this.#problems.length === 0 && this.#areTouchedGood()) {
      for (const path of this.#touched) {
        const file = this.#files.get(path);
        if (file?.newest.kind !== "valid") continue;
        this.#use(path, file.used, file.newest.objects);
        file.used = file.newest.objects;
        hasChanged = true;
      }
    } else {
      const { used, problems } = this.#settleAll();
      this.#problems = problems;
      for (const [path, file] of this.#files) {
        const objects = used.get(path);
        if (objects === file.used) continue;
        this.#use(path, file.used, objects);
        file.used = objects;
        hasChanged = true;
      }
    }
    this.#touched.clear();
    return { problems: this.#problems, hasChanged };
  }

  snapshot(revision: number, isInSync: boolean): Snapshot {
    return this.#snapshot.build(revision, isInSync);
  }

  /** Nothing is wrong with the files that were set, nor between them and any other. */
  #areTouchedGood(): boolean {
    const claimed = new Set<string>();
    for (const path of this.#touched) {
      const newest = this.#files.get(path)?.newest;
      if (newest === undefined) continue;
      if (newest.kind === "invalid") return false;
      for (const { key } of newest.objects) {
        if ((this.#owners.get(key) ?? path) !== path || claimed.has(key)) return false;
        claimed.add(key);
      }
    }
    return true;
  }

  #use(path: string, before: Objects = [], now: Objects = []): void {
    const keys = new Set(now.map(({ key }) => key));
    for (const object of before) {
      if (keys.has(object.key)) continue;
      // Another file may have taken it over in the same settlement.
      if (this.#owners.get(object.key) !== path) continue;
      this.#owners.delete(object.key);
      this.#snapshot.remove(object.value);
    }
    for (const object of now) {
      this.#owners.set(object.key, path);
      this.#snapshot.put(object.value);
    }
  }

  #settleAll() {
    const problems: string[] = [];
    const used = new Map<string, Objects | undefined>();
    const order = [...this.#files.keys()].sort();
    for (const path of order) {
      const file = this.#files.get(path);
      if (file?.newest.kind === "valid") used.set(path, file.newest.objects);
      else {
        used.set(path, file?.used);
        const suffix = keptOf(file?.used);
        const found = file?.newest.problems ?? [];
        problems.push(...found.map((problem) => formatProblem(path, problem) + suffix));
      }
    }
    problems.push(...this.#settleConflicts(order, used));
    return { used, problems };
  }

  // Each round sends one file back to its last good version. Those were free of conflicts among
  // themselves, so that there are at most as many rounds as files.
  #settleConflicts(order: readonly string[], used: Map<string, Objects | undefined>): string[] {
    const problems: string[] = [];
    for (let round = 0; round < order.length; round++) {
      const conflict = this.#findConflict(order, used);
      if (conflict === undefined) break;
      const { loser, object, winner, winnerLine } = conflict;
      const lastGood = this.#files.get(loser)?.used;
      used.set(loser, lastGood);
      const message = `Cannot use ${object.key}: it is also in ${winner}:${winnerLine}`;
      problems.push(formatProblem(loser, { line: object.line, message }) + keptOf(lastGood));
    }
    return problems;
  }

  #findConflict(order: readonly string[], used: ReadonlyMap<string, Objects | undefined>) {
    const owners = new Map<string, { readonly path: string; readonly object: ManifestObject }>();
    for (const path of order) {
      for (const object of used.get(path) ?? []) {
        const owner = owners.get(object.key);
        if (owner === undefined) owners.set(object.key, { path, object });
        else if (this.#had(path, object.key) && !this.#had(owner.path, object.key)) {
          return { loser: owner.path, object: owner.object, winner: path, winnerLine: object.line };
        } else {
          return { loser: path, object, winner: owner.path, winnerLine: owner.object.line };
        }
      }
    }
    return undefined;
  }

  #had(path: string, key: string): boolean {
    return this.#files.get(path)?.used?.some((object) => object.key === key) ?? false;
  }
}

/** Objects that are as they were stay the same objects: who compares by identity finds what changed. */
function keepUnchanged(newest: Manifest, used: Objects = []): Manifest {
  if (newest.kind === "invalid" || used.length === 0) return newest;
  const before = new Map(used.map((object) => [object.key, object]));
  const objects = newest.objects.map((object) => {
    const known = before.get(object.key);
    const isSame = known !== undefined && isDeepStrictEqual(known.value, object.value);
    return isSame ? { ...object, value: known.value } : object;
  });
  return { ...newest, objects };
}

const formatProblem = (path: string, { line, message }: Problem): string =>
  `${path}:${line}: ${message}`;

const keptOf = (used: Objects | undefined): string =>
  used === undefined ? " (nothing of this file is used)" : " (its last good version is kept)";
