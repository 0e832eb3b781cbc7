// How full is too full: what the daemon warns of before a pool has no address left.

/** Per cent of a pool's addresses that are held: 0 is no reason to warn. */
export type FullnessLevel = 0 | 80 | 95;

const levels: readonly FullnessLevel[] = [95, 80];

/** A level ends this many per cent below where it begins, so that it does not come and go with one pod. */
const hysteresis = 5;

/** The level after `held` of `size`, where it was `before`. */
export function fullnessLevel(before: FullnessLevel, held: number, size: number): FullnessLevel {
  const isAtLeast = (percent: number): boolean => size > 0 && held * 100 >= size * percent;
  const reached = levels.find((level) => isAtLeast(level)) ?? 0;
  const kept = levels.find((level) => level <= before && isAtLeast(level - hysteresis)) ?? 0;
  return reached > kept ? reached : kept;
}
