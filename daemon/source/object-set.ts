// The objects of a cluster that are known one by one: which version of each is used, what is wrong with
// those that are not, and the snapshot they make.
import { isDeepStrictEqual } from "node:util";
import type { Snapshot } from "../../core/cluster/model.ts";
import { documentOf } from "../files/yaml-file.ts";
import { type ClusterObject, clusterObjectKey, readClusterObject } from "./cluster-object.ts";
import { SnapshotBuilder } from "./snapshot-builder.ts";

interface Entry {
  /** What is used: the newest version, or the last good one; absent: nothing of it. */
  readonly used: ClusterObject | undefined;
  /** Why the newest version is not used. */
  readonly problem: string | undefined;
}

export class ObjectSet {
  readonly #entries = new Map<string, Entry>();
  readonly #builder = new SnapshotBuilder();
  /** In the order of their keys; undefined: to be collected. */
  #problems: readonly string[] | undefined = [];
  #hasChanged = false;

  get size(): number {
    return this.#entries.size;
  }

  has(key: string): boolean {
    return this.#entries.has(key);
  }

  keys(): IteratorObject<string> {
    return this.#entries.keys();
  }

  /**
   * Takes the newest version.
   * @param key as of clusterObjectKey(), also for an object of a kind that is not used: where it was
   *   found. An object that says that it is another is invalid.
   * @param value as JSON has it; null is taken for absent. Undefined: what is there is no JSON.
   */
  put(key: string, value: unknown): void {
    const before = this.#entries.get(key)?.used;
    const read = readAt(key, value);
    if (read.problem === undefined) {
      const isSame = before !== undefined && isDeepStrictEqual(before, read.used);
      this.#set(key, isSame ? { used: before, problem: undefined } : read);
    } else {
      const suffix = before === undefined ? "" : " (its last good version is kept)";
      this.#set(key, { used: before, problem: read.problem + suffix });
    }
  }

  remove(key: string): void {
    const before = this.#entries.get(key);
    if (before === undefined) return;
    this.#set(key, { used: undefined, problem: undefined });
    this.#entries.delete(key);
  }

  /** Removes every object that is not among these: after a complete list. */
  retain(keys: ReadonlySet<string>): void {
    for (const key of this.#entries.keys()) if (!keys.has(key)) this.remove(key);
  }

  /** One sentence for each object that cannot be used. */
  get problems(): readonly string[] {
    this.#problems ??= [...this.#entries]
      .flatMap(([key, { problem }]) => (problem === undefined ? [] : [[key, problem] as const]))
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([, problem]) => problem);
    return this.#problems;
  }

  /** Whether a snapshot would be another than at the last call. */
  takeChange(): boolean {
    const hasChanged = this.#hasChanged;
    this.#hasChanged = false;
    return hasChanged;
  }

  snapshot(revision: number, isInSync: boolean): Snapshot {
    return this.#builder.build(revision, isInSync);
  }

  #set(key: string, entry: Entry): void {
    const before = this.#entries.get(key);
    this.#entries.set(key, entry);
    if (before?.problem !== entry.problem) this.#problems = undefined;
    if (before?.used === entry.used) return;
    this.#hasChanged = true;
    if (entry.used !== undefined) this.#builder.put(entry.used);
    else if (before?.used !== undefined) this.#builder.remove(before.used);
  }
}

function readAt(key: string, value: unknown): Entry {
  if (value === undefined) {
    return { used: undefined, problem: `Cannot use ${key}: expected a Kubernetes object as JSON` };
  }
  const document = documentOf(value);
  const read = readClusterObject({ document, path: [], value: document.value });
  if (read.kind === "ignored") return { used: undefined, problem: undefined };
  if (read.kind === "invalid") {
    const problem = read.problems.map(({ message }) => message).join("; ");
    // What says who it is need not be said twice.
    return { used: undefined, problem: problem.includes(key) ? problem : `${key}: ${problem}` };
  }
  const own = clusterObjectKey(read.value);
  return own === key
    ? { used: read.value, problem: undefined }
    : { used: undefined, problem: `Cannot use ${key}: it says that it is ${own}` };
}
