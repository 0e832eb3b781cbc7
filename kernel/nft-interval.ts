// Sets of networks as nf_tables holds them: an interval is an element for its first address and one,
// flagged as an end, for the address behind its last. An interval that reaches the last address of all
// has no end. Two intervals may touch: then an end and a start have the same key.
import {
  type Cidr,
  type Family,
  type Ip,
  cidrBase,
  cidrLast,
  cidrOf,
  ipFromBigInt,
  ipToBigInt,
} from "../core/address.ts";
import { normalElements } from "../core/nft.ts";
import type { RawElement } from "./nft-message.ts";

/** Addresses first to last, as numbers. */
export interface Interval {
  readonly first: bigint;
  readonly last: bigint;
}

/** One set element: a boundary of an interval. */
export interface Boundary {
  readonly key: bigint;
  /** NFT_SET_ELEM_INTERVAL_END: the key is the first that no longer belongs. */
  readonly isEnd: boolean;
}

const bitsOf = (family: Family): number => (family === 4 ? 32 : 128);
const lastOf = (family: Family): bigint => (1n << BigInt(bitsOf(family))) - 1n;

/** The set's intervals in order; overlaps are merged into the larger network. */
export const intervalsOf = (elements: readonly (Ip | Cidr)[]): readonly Interval[] =>
  normalElements(elements).map((cidr) => ({
    first: ipToBigInt(cidrBase(cidr)),
    last: ipToBigInt(cidrLast(cidr)),
  }));

export const boundariesOf = ({ first, last }: Interval, family: Family): readonly Boundary[] =>
  last === lastOf(family)
    ? [{ key: first, isEnd: false }]
    : [
        { key: first, isEnd: false },
        { key: last + 1n, isEnd: true },
      ];

/** The intervals that a set's elements, in any order, stand for. */
export function intervalsFrom(boundaries: readonly Boundary[], family: Family): Interval[] {
  const sorted = [...boundaries].sort((a, b) =>
    a.key < b.key ? -1 : a.key > b.key ? 1 : Number(b.isEnd) - Number(a.isEnd),
  );
  const intervals: Interval[] = [];
  let first: bigint | undefined;
  for (const { key, isEnd } of sorted) {
    // nft puts an end at the very start of a set it makes: it closes nothing.
    if (first !== undefined) intervals.push({ first, last: key - 1n });
    first = isEnd ? undefined : key;
  }
  if (first !== undefined) intervals.push({ first, last: lastOf(family) });
  return intervals;
}

/** The fewest networks that together are the interval. */
export function networksOf({ first, last }: Interval, family: Family): readonly Cidr[] {
  const networks: Cidr[] = [];
  for (let next = first; next <= last;) {
    let hostBits = 0;
    while (hostBits < bitsOf(family) && isNetwork(next, hostBits + 1, last)) hostBits++;
    networks.push(cidrOf(ipFromBigInt(next, family), bitsOf(family) - hostBits));
    next += 1n << BigInt(hostBits);
  }
  return networks;
}

const isNetwork = (base: bigint, hostBits: number, last: bigint): boolean => {
  const size = 1n << BigInt(hostBits);
  return base % size === 0n && base + size - 1n <= last;
};

/** Boundaries as elements of a set, and back. */
export const toElement =
  (family: Family) =>
  ({ key, isEnd }: Boundary): RawElement => ({ key: keyToOctets(key, family), isEnd });

export const fromElement = ({ key, isEnd = false }: RawElement): Boundary => ({
  key: key.reduce((number, octet) => (number << 8n) | BigInt(octet), 0n),
  isEnd,
});

/** Network order. */
function keyToOctets(key: bigint, family: Family): Uint8Array {
  const octets = new Uint8Array(bitsOf(family) / 8);
  let rest = key;
  for (let i = octets.length - 1; i >= 0; i--) {
    octets[i] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  return octets;
}
