import { isDeepStrictEqual } from "node:util";

export interface MapChanges<T> {
  /** New values, by key, where they are new or not equal to the old ones. */
  readonly set: readonly (readonly [string, T])[];
  /** Old values that are gone, by key. */
  readonly removed: readonly (readonly [string, T])[];
}

/** What turned one map into the other. Of what did not change, it costs a look by reference. */
export function mapChanges<T>(
  before: ReadonlyMap<string, T>,
  now: ReadonlyMap<string, T>,
): MapChanges<T> {
  if (before === now) return { set: [], removed: [] };
  const set: [string, T][] = [];
  let common = 0;
  for (const [key, value] of now) {
    const old = before.get(key);
    if (old !== undefined) common++;
    if (old !== value && !isDeepStrictEqual(old, value)) set.push([key, value]);
  }
  // Most often nothing is gone, and the other half of the work is saved.
  const removed = common === before.size ? [] : [...before].filter(([key]) => !now.has(key));
  return { set, removed };
}
