import { expect, test } from "vitest";
import { MapLine } from "../../core/cluster/map-line.ts";
import { seededRandom } from "../../test/support/random.ts";
import { type MapChanges, mapChanges } from "./map-changes.ts";

interface Value {
  readonly n: number;
}

const sorted = ({ set, removed }: MapChanges<Value>): unknown => [
  set.toSorted(([a], [b]) => (a < b ? -1 : 1)),
  removed.toSorted(([a], [b]) => (a < b ? -1 : 1)),
];

test.each([1, 2, 3])("what is known of changes gives what a comparison gives (seed %i)", (seed) => {
  const random = seededRandom(seed);
  const line = new MapLine();
  const maps: ReadonlyMap<string, Value>[] = [];
  let map = new Map<string, Value>();
  for (let i = 0; i < 200; i++) {
    for (let change = random.below(4); change > 0; change--) {
      const key = `key ${random.below(20)}`;
      line.note(key);
      // Now and then an equal one, or one that goes and comes back.
      if (random.below(3) === 0) map.delete(key);
      else map.set(key, { n: random.below(3) });
    }
    line.mark(map);
    maps.push(map);
    map = new Map(map);
    const before = maps[Math.max(0, i - random.below(80))]!;
    const now = maps[i]!;
    const compared = mapChanges(new Map(before), new Map(now));
    expect(sorted(mapChanges(before, now))).toEqual(sorted(compared));
  }
});
