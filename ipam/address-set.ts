import type { Family, Ip } from "../core/address.ts";
import { familyOf, ipToBigInt } from "../core/address.ts";

/**
 * Addresses of one family as numbers, sorted, so that the next free one is found by bisection: the
 * time grows with the logarithm of how many are held, not with how large or how full a range is.
 */
export class AddressSet {
  readonly #sorted: bigint[];

  constructor(addresses: Iterable<bigint> = []) {
    this.#sorted = [...new Set(addresses)].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
  }

  has(address: bigint): boolean {
    return this.#sorted[this.#lowerBound(address)] === address;
  }

  add(address: bigint): void {
    const at = this.#lowerBound(address);
    if (this.#sorted[at] !== address) this.#sorted.splice(at, 0, address);
  }

  delete(address: bigint): void {
    const at = this.#lowerBound(address);
    if (this.#sorted[at] === address) this.#sorted.splice(at, 1);
  }

  /** The smallest number that is not less than `from` and not in the set. */
  firstFree(from: bigint): bigint {
    const start = this.#lowerBound(from);
    if (this.#sorted[start] !== from) return from;
    // Within the run of held addresses that begins here, each is `from` plus its distance.
    const runEnd = bisect(
      start,
      this.#sorted.length,
      (i) => this.#sorted[i] !== from + BigInt(i - start),
    );
    return from + BigInt(runEnd - start);
  }

  /** How many lie between the bounds, both inclusive. */
  countBetween(first: bigint, last: bigint): number {
    return this.#lowerBound(last + 1n) - this.#lowerBound(first);
  }

  #lowerBound(address: bigint): number {
    return bisect(0, this.#sorted.length, (i) => {
      const held = this.#sorted[i];
      return held === undefined || held >= address;
    });
  }
}

/** Held addresses of both families: what allocation asks. */
export type Taken = Readonly<Record<Family, AddressSet>>;

export const takenAddresses = (addresses: readonly Ip[]): Taken => ({
  4: new AddressSet(addresses.filter((ip) => familyOf(ip) === 4).map(ipToBigInt)),
  6: new AddressSet(addresses.filter((ip) => familyOf(ip) === 6).map(ipToBigInt)),
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
