// The state of a source and who follows it. What is learnt one thing at a time is told together.
import { isDeepStrictEqual } from "node:util";
import { emptySnapshot, type Snapshot } from "../../core/cluster/model.ts";
import type { Log } from "../../core/log.ts";
import type { SourceState } from "./source.ts";

/** How it stands with the cluster. */
export interface Standing {
  /** There has been a complete list, all of which is in the snapshot. */
  readonly isInSync: boolean;
  readonly problems: readonly string[];
  /** The snapshot's objects are others than at the last call. */
  readonly hasChanged: boolean;
  readonly snapshot: (revision: number, isInSync: boolean) => Snapshot;
}

/** From the first change to the one call that tells of it and all that came after it. */
const squashMs = 20;

export class StateFeed implements Disposable {
  readonly #look: () => Standing;
  readonly #log: Log;
  readonly #listeners = new Set<(state: SourceState) => void>();
  #state: SourceState = { snapshot: emptySnapshot, problems: [] };
  #timer: NodeJS.Timeout | undefined;
  /** When the timer ends. Monotonic, milliseconds. */
  #dueAtMs = Infinity;
  #isDisposed = false;

  constructor(look: () => Standing, log: Log) {
    this.#look = look;
    this.#log = log;
  }

  get state(): SourceState {
    return this.#state;
  }

  subscribe(listener: (state: SourceState) => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  /** Something may be new: looks after so many milliseconds, once for all that comes until then. */
  expect(afterMs = squashMs): void {
    const atMs = performance.now() + afterMs;
    if (this.#isDisposed || atMs >= this.#dueAtMs) return;
    clearTimeout(this.#timer);
    this.#dueAtMs = atMs;
    this.#timer = setTimeout(() => {
      this.#dueAtMs = Infinity;
      this.#tell();
    }, afterMs);
  }

  #tell(): void {
    const before = this.#state;
    const { problems, hasChanged, snapshot, ...standing } = this.#look();
    // Once complete, always complete: what breaks later has its last good version.
    const isInSync = before.snapshot.isInSync || standing.isInSync;
    const isSame = isDeepStrictEqual(problems, before.problems);
    if (!hasChanged && isSame && isInSync === before.snapshot.isInSync) return;
    this.#state = { snapshot: snapshot(before.snapshot.revision + 1, isInSync), problems };
    for (const problem of problems) {
      if (!before.problems.includes(problem)) this.#log.warn({ problem }, "problem of the source");
    }
    for (const listener of this.#listeners) listener(this.#state);
  }

  [Symbol.dispose](): void {
    this.#isDisposed = true;
    clearTimeout(this.#timer);
    this.#listeners.clear();
  }
}
