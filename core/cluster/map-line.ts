// Which keys of a map have other values than in an earlier one, told by who made the one from the other: who
// follows a cluster of thousands of objects need not look at each of them for one that changed.

/** More in one step, and all are compared. */
const mostKeys = 1024;
/** Who lags behind by more compares all too. */
const mostSteps = 64;

interface Place {
  readonly line: MapLine;
  /** Steps from the line's beginning. */
  readonly step: number;
}

const places = new WeakMap<object, Place>();

/** The maps of one maker, each from the one before. */
export class MapLine {
  /** What changed with each step, the newest last; undefined: too much. */
  readonly #steps: (ReadonlySet<string> | undefined)[] = [];
  #dropped = 0;
  #next: Set<string> | undefined = new Set();

  /** The next map has another value at the key, or none. */
  note(key: string): void {
    this.#next?.add(key);
    if ((this.#next?.size ?? 0) > mostKeys) this.#next = undefined;
  }

  /** The map has all that was noted, and is not changed any more. */
  mark(map: ReadonlyMap<string, unknown>): void {
    if (places.has(map)) return;
    this.#steps.push(this.#next);
    this.#next = new Set();
    if (this.#steps.length > mostSteps) {
      this.#steps.shift();
      this.#dropped++;
    }
    places.set(map, { line: this, step: this.#dropped + this.#steps.length });
  }

  /** What changed from the one step to the other; undefined where that is not known any more. */
  between(from: number, to: number): ReadonlySet<string> | undefined {
    const keys = new Set<string>();
    for (let step = from; step < to; step++) {
      // What was dropped is not there either.
      const changed = this.#steps[step - this.#dropped];
      if (changed === undefined) return undefined;
      for (const key of changed) keys.add(key);
    }
    return keys;
  }
}

/** All keys at which the maps may differ; undefined: any. */
export function changedKeys(
  before: ReadonlyMap<string, unknown>,
  now: ReadonlyMap<string, unknown>,
): ReadonlySet<string> | undefined {
  const [from, to] = [places.get(before), places.get(now)];
  if (from === undefined || to === undefined) return undefined;
  return from.line === to.line && from.step <= to.step
    ? from.line.between(from.step, to.step)
    : undefined;
}
