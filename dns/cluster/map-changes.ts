import { isDeepStrictEqual } from "node:util";
import { changedKeys } from "../../core/cluster/map-line.ts";

export interface MapChanges<T> {
  /** New values, by key, where they are new or not equal to the old ones. */
  readonly set: readonly (readonly [string, T])[];
  /** Old values that are gone, by key. */
  readonly removed: readonly (readonly [string, T])[];
}

/**
 * What turned one map into the other. It costs what changed where that is known, else a look by reference at
 * each that did not.
 */
export function mapChanges<T>(
  before: ReadonlyMap<string, T>,
  now: ReadonlyMap<string, T>,
): MapChanges<T> {
  if (before === now) return { set: [], removed: [] };
  const keys = changedKeys(before, now);
  if (keys !== undefined) return changesAt(keys, before, now);
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

function changesAt<T>(
  keys: ReadonlySet<string>,
  before: ReadonlyMap<string, T>,
  now: ReadonlyMap<string, T>,
): MapChanges<T> {
  const set: [string, T][] = [];
  const removed: [string, T][] = [];
  for (const key of keys) {
    const [old, value] = [before.get(key), now.get(key)];
    if (value !== undefined && !isDeepStrictEqual(old, value)) set.push([key, value]);
    if (value === undefined && old !== undefined) removed.push([key, old]);
  }
  return { set, removed };
}
