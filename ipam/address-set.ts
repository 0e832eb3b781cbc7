import type { Family, Ip } from "../core/address.ts";
import { familyOf, ipToBigInt } from "../core/address.ts";

// A list longer than this is cut in two: what moves when one address comes or goes.
const longestList = 2048;

/**
 * Addresses of one family as numbers, sorted, in lists of a bounded length: the time to find the next
 * free one, to add one or to remove one hardly grows with how many are held.
 */
export class AddressSet {
  /** None is empty, but the only one. */
  readonly #lists: bigint[][];
  /** How many are in the lists before each; undefined after a change. */
  #before: readonly number[] | undefined;

  constructor(addresses: Iterable<bigint> = []) {
    const sorted = [...new Set(addresses)].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
    const half = longestList / 2;
    this.#lists = [sorted.slice(0, half)];
    for (let at = half; at < sorted.length; at += half) {
      this.#lists.push(sorted.slice(at, at + half));
    }
  }

  has(address: bigint): boolean {
    const list = this.#lists[this.#listOf(address)] ?? [];
    return list[lowerBound(list, address)] === address;
  }

  add(address: bigint): void {
    const index = this.#listOf(address);
    const list = this.#lists[index] ?? [];
    const at = lowerBound(list, address);
    if (list[at] === address) return;
    this.#before = undefined;
    list.splice(at, 0, address);
    if (list.length > longestList) {
      this.#lists.splice(index + 1, 0, list.splice(longestList / 2));
    }
  }

  delete(address: bigint): void {
    const index = this.#listOf(address);
    const list = this.#lists[index] ?? [];
    const at = lowerBound(list, address);
    if (list[at] !== address) return;
    this.#before = undefined;
    list.splice(at, 1);
    if (list.length === 0 && this.#lists.length > 1) this.#lists.splice(index, 1);
  }

  /** The smallest number that is not less than `from` and not in the set. */
  firstFree(from: bigint): bigint {
    const index = this.#listOf(from);
    const start = lowerBound(this.#lists[index] ?? [], from);
    if (this.#lists[index]?.[start] !== from) return from;
    // Within the run of held addresses that begins here, each is `from` plus its distance.
    const before = this.#counts();
    const origin = (before[index] ?? 0) + start;
    const isBeyond = (at: number, i: number): boolean =>
      this.#lists[at]?.[i] !== from + BigInt((before[at] ?? 0) + i - origin);
    const last = bisect(index + 1, this.#lists.length, (at) => isBeyond(at, 0)) - 1;
    const length = this.#lists[last]?.length ?? 0;
    const end = bisect(last === index ? start : 0, length, (i) => isBeyond(last, i));
    return from + BigInt((before[last] ?? 0) + end - origin);
  }

  /** How many lie between the bounds, both inclusive. */
  countBetween(first: bigint, last: bigint): number {
    return this.#countBelow(last + 1n) - this.#countBelow(first);
  }

  #countBelow(address: bigint): number {
    const index = this.#listOf(address);
    return (this.#counts()[index] ?? 0) + lowerBound(this.#lists[index] ?? [], address);
  }

  #counts(): readonly number[] {
    if (this.#before !== undefined) return this.#before;
    let sum = 0;
    this.#before = this.#lists.map(({ length }) => (sum += length) - length);
    return this.#before;
  }

  // The last list that begins at or before the address, else the first.
  #listOf(address: bigint): number {
    const after = bisect(0, this.#lists.length, (i) => {
      const first = this.#lists[i]?.[0];
      return first !== undefined && first > address;
    });
    return Math.max(0, after - 1);
  }
}

/** Held addresses of both families: what allocation asks. */
export type Taken = Readonly<Record<Family, AddressSet>>;

export const takenAddresses = (addresses: readonly Ip[]): Taken => ({
  4: new AddressSet(addresses.filter((ip) => familyOf(ip) === 4).map(ipToBigInt)),
  6: new AddressSet(addresses.filter((ip) => familyOf(ip) === 6).map(ipToBigInt)),
});

const lowerBound = (sorted: readonly bigint[], address: bigint): number =>
  bisect(0, sorted.length, (i) => {
    const held = sorted[i];
    return held === undefined || held >= address;
  });

// The first index in [low, high) for which the test holds, or high; once it holds, it holds after.
function bisect(low: number, high: number, holds: (index: number) => boolean): number {
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (holds(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}
