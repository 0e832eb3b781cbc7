// Which address is next. Pure: the same ranges, held addresses and last reserved address give the
// same answer, in host-local's order, so that both can serve one directory.
import { type Ip, ipFromBigInt, ipToBigInt } from "../core/address.ts";
import type { AddressSet, Taken } from "./address-set.ts";
import { type Exclusion, type Range, type RangeSet, exclusionOf, rangeOf } from "./range.ts";

export type Allocation =
  | { readonly kind: "leased"; readonly address: Ip; readonly range: Range }
  | { readonly kind: "exhausted" }
  /** A requested address that nobody gets, or that someone holds. */
  | {
      readonly kind: "conflict";
      readonly address: Ip;
      readonly reason: Exclusion["reason"] | "held";
    };

/**
 * Round robin over the whole set: the search starts after the last reserved address, wraps around,
 * and tries that address itself last. Without one in the set it starts at the first range.
 */
export function allocateNext(set: RangeSet, taken: Taken, lastReserved?: Ip): Allocation {
  for (const stretch of searchOrder(set, lastReserved)) {
    const { range } = stretch;
    const address = firstCandidate(taken[range.family], stretch);
    if (address !== undefined) return { kind: "leased", address, range };
  }
  return { kind: "exhausted" };
}

/** The one address asked for; it must lie in the set. */
export function allocateRequested(set: RangeSet, taken: Taken, address: Ip): Allocation {
  const range = rangeOf(set, address);
  if (range === undefined) throw new RangeError(`${address} is not in the range set`);
  const exclusion = exclusionOf(range, ipToBigInt(address));
  if (exclusion !== undefined) return { kind: "conflict", address, reason: exclusion.reason };
  if (taken[range.family].has(ipToBigInt(address))) {
    return { kind: "conflict", address, reason: "held" };
  }
  return { kind: "leased", address, range };
}

interface Stretch {
  readonly range: Range;
  readonly from: bigint;
  readonly to: bigint;
}

function searchOrder(set: RangeSet, lastReserved: Ip | undefined): readonly Stretch[] {
  const whole = (range: Range): Stretch => ({ range, from: range.first, to: range.last });
  const range = lastReserved === undefined ? undefined : rangeOf(set, lastReserved);
  if (lastReserved === undefined || range === undefined) return set.map(whole);
  const last = ipToBigInt(lastReserved);
  const at = set.indexOf(range);
  return [
    { range, from: last + 1n, to: range.last },
    ...set.slice(at + 1).map(whole),
    ...set.slice(0, at).map(whole),
    { range, from: range.first, to: last },
  ];
}

// Bounded by the number of exclusions: each turn of the loop but the last passes one.
function firstCandidate(held: AddressSet, { range, from, to }: Stretch): Ip | undefined {
  let value = held.firstFree(from);
  while (value <= to) {
    const exclusion = exclusionOf(range, value);
    if (exclusion === undefined) return ipFromBigInt(value, range.family);
    value = held.firstFree(exclusion.last + 1n);
  }
  return undefined;
}
