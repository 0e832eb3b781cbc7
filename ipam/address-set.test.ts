import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { seededRandom } from "../test/support/random.ts";
import { AddressSet } from "./address-set.ts";

const number = fc.bigInt(0n, 40n);
const operation = fc.tuple(fc.constantFrom("add", "delete"), number);

describe("AddressSet", () => {
  test("agrees with a plain set after any operations", () => {
    fc.assert(
      fc.property(fc.array(number), fc.array(operation), number, (start, operations, from) => {
        const set = new AddressSet(start);
        const plain = new Set(start);
        for (const [kind, value] of operations) {
          if (kind === "add") {
            set.add(value);
            plain.add(value);
          } else {
            set.delete(value);
            plain.delete(value);
          }
        }
        let free = from;
        while (plain.has(free)) free++;
        expect(set.firstFree(from)).toBe(free);
        expect(set.has(from)).toBe(plain.has(from));
        expect(set.countBetween(from, from + 9n)).toBe(
          [...plain].filter((value) => value >= from && value <= from + 9n).length,
        );
      }),
    );
  });

  test("agrees with a plain set when it is long", () => {
    const random = seededRandom(7);
    const set = new AddressSet();
    const plain = new Set<bigint>();
    for (let step = 0; step < 30_000; step++) {
      const value = BigInt(random.below(9000));
      // First it fills, then it empties.
      const isAdded = random.below(10) < (step < 20_000 ? 8 : 2);
      set[isAdded ? "add" : "delete"](value);
      plain[isAdded ? "add" : "delete"](value);
      if (step % 500 !== 0) continue;
      let free = value;
      while (plain.has(free)) free++;
      expect(set.firstFree(value)).toBe(free);
      expect(set.countBetween(0n, 9000n)).toBe(plain.size);
    }
    for (let value = 0n; value < 9000n; value++) {
      if (set.has(value) !== plain.has(value)) throw new Error(`${value}`);
    }
    expect(set.countBetween(0n, 9000n)).toBe(plain.size);
    for (const value of plain) set.delete(value);
    expect(set.countBetween(0n, 9000n)).toBe(0);
    expect(set.firstFree(5n)).toBe(5n);
  });

  test("finds the end of a run of 100,000 without walking it", () => {
    const base = 0xfd00n << 112n;
    const set = new AddressSet(Array.from({ length: 100_000 }, (_, i) => base + BigInt(i)));
    expect(set.firstFree(base)).toBe(base + 100_000n);
    expect(set.firstFree(base + 50_000n)).toBe(base + 100_000n);
    expect(set.countBetween(base, base + (1n << 64n))).toBe(100_000);
  });
});
