import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type Family,
  cidrBase,
  cidrLast,
  cidrOf,
  ipFromBigInt,
  ipToBigInt,
} from "../core/address.ts";
import { normalElements } from "../core/nft.ts";
import { cidr } from "../test/support/builders.ts";
import {
  boundariesOf,
  fromElement,
  intervalsFrom,
  intervalsOf,
  networksOf,
  toElement,
} from "./nft-interval.ts";

const bits = { 4: 32, 6: 128 } as const;
const anAddress = (family: Family) => fc.bigInt(0n, (1n << BigInt(bits[family])) - 1n);
const someNetworks = (family: Family) =>
  fc.array(
    fc
      .tuple(anAddress(family), fc.integer({ min: 0, max: bits[family] }))
      .map(([value, prefixLength]) => cidrOf(ipFromBigInt(value, family), prefixLength)),
    { maxLength: 20 },
  );

describe.each([4, 6] as const)("IPv%i intervals", (family) => {
  test("come back from their boundaries in any order", () =>
    fc.assert(
      fc.property(someNetworks(family), fc.infiniteStream(fc.nat()), (networks, random) => {
        const intervals = intervalsOf(networks);
        const shuffled = intervals
          .flatMap((interval) => boundariesOf(interval, family))
          .map((boundary) => ({ boundary, order: random.next().value }))
          .sort((a, b) => a.order - b.order)
          .map(({ boundary }) => boundary);
        expect(intervalsFrom(shuffled, family)).toEqual(intervals);
        expect(intervals.flatMap((interval) => networksOf(interval, family))).toEqual(
          normalElements(networks),
        );
      }),
    ));

  test("of any bounds are the fewest networks that cover them exactly", () =>
    fc.assert(
      fc.property(anAddress(family), anAddress(family), (a, b) => {
        const [first, last] = a < b ? [a, b] : [b, a];
        const networks = networksOf({ first, last }, family);
        let next = first;
        for (const network of networks) {
          expect(ipToBigInt(cidrBase(network))).toBe(next);
          next = ipToBigInt(cidrLast(network)) + 1n;
        }
        expect(next).toBe(last + 1n);
        expect(networks.length).toBeLessThanOrEqual(2 * bits[family]);
      }),
    ));

  test("are elements of octets, both ways", () =>
    fc.assert(
      fc.property(anAddress(family), fc.boolean(), (key, isEnd) => {
        const element = toElement(family)({ key, isEnd });
        expect(element.key).toHaveLength(bits[family] / 8);
        expect(fromElement(element)).toEqual({ key, isEnd });
      }),
    ));
});

test("an interval up to the last address has no end, nft's leading end closes nothing", () => {
  const [interval] = intervalsOf([cidr("240.0.0.0/4")]);
  expect(boundariesOf(interval!, 4)).toEqual([{ key: 0xf000_0000n, isEnd: false }]);
  expect(
    intervalsFrom(
      [
        { key: 0n, isEnd: true },
        { key: 0xf000_0000n, isEnd: false },
      ],
      4,
    ),
  ).toEqual([interval]);
});

test("touching intervals stay two", () => {
  const halves = [cidr("10.0.0.0/25"), cidr("10.0.0.128/25")];
  const boundaries = intervalsOf(halves).flatMap((interval) => boundariesOf(interval, 4));
  expect(boundaries).toHaveLength(4);
  expect(intervalsFrom(boundaries, 4).flatMap((one) => networksOf(one, 4))).toEqual(halves);
});
