import { expect, test } from "vitest";
import { changedKeys, MapLine } from "./map-line.ts";

/** A map that has these keys more than nothing, from the line's last one. */
function nextMap(line: MapLine, ...keys: readonly string[]): ReadonlyMap<string, number> {
  for (const key of keys) line.note(key);
  const map = new Map<string, number>();
  line.mark(map);
  return map;
}

const keysOf = (n: number): string[] => Array.from({ length: n }, (_, i) => `key ${i}`);

test("tells what changed from any map of a line to a later one", () => {
  const line = new MapLine();
  const [first, second, third] = [nextMap(line, "a"), nextMap(line, "b"), nextMap(line, "c", "b")];
  const changed = (before: ReadonlyMap<string, number>, now: ReadonlyMap<string, number>) => [
    ...(changedKeys(before, now) ?? ["any"]),
  ];
  expect(changed(first, second)).toEqual(["b"]);
  expect(changed(first, third)).toEqual(["b", "c"]);
  expect(changed(second, third)).toEqual(["c", "b"]);
  expect(changed(third, third)).toEqual([]);
  // Given out again.
  line.mark(second);
  expect(changed(first, second)).toEqual(["b"]);
});

test("does not know of maps of other makers, and of the way back", () => {
  const line = new MapLine();
  const [first, second] = [nextMap(line, "a"), nextMap(line, "b")];
  expect(changedKeys(second, first)).toBeUndefined();
  expect(changedKeys(new Map(), first)).toBeUndefined();
  expect(changedKeys(first, new Map())).toBeUndefined();
  expect(changedKeys(first, nextMap(new MapLine(), "b"))).toBeUndefined();
});

test("forgets what is long ago, and what was very much", () => {
  const line = new MapLine();
  const first = nextMap(line, "a");
  const after = keysOf(64).map((key) => nextMap(line, key));
  expect(changedKeys(first, after.at(-1)!)?.size).toBe(64);
  const late = nextMap(line, "late");
  expect(changedKeys(first, late)).toBeUndefined();
  expect(changedKeys(after[0]!, late)?.size).toBe(64);
  const large = nextMap(line, ...keysOf(1025));
  expect(changedKeys(late, large)).toBeUndefined();
  expect([...(changedKeys(large, nextMap(line, "b")) ?? [])]).toEqual(["b"]);
});
