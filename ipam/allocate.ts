// Which address is next. Pure: the same ranges, held addresses and last reserved address give the
// same answer, in host-local's order, so that both can serve one directory.
import { type Ip, ipFromBigInt, ipToBigInt } from "../core/address.ts";
import type { AddressSet, Taken } from "./address-set.ts";
import { type Range, type RangeSet, rangeOf } from "./range.ts";

export type Allocation =
  | { readonly kind: "leased"; readonly address: Ip; readonly range: Range }
  | { readonly kind: "exhausted" }
  /** A requested address that is the gateway, or that someone holds. */
  | { readonly kind: "conflict"; readonly address: Ip; readonly reason: "gateway" | "held" };

/**
 * Round robin over the whole set: the search starts after the last reserved address, wraps around,
 * and tries that address itself last. Without one in the set it starts at the first range.
 */
export function allocateNext(set: RangeSet, taken: Taken, lastReserved?: Ip): Allocation {
  for (const stretch of searchOrder(set, lastReserved)) {
    const { range } = stretch;
    const address = firstCandidate(set, taken[range.family], stretch);
    if (address !== undefined) return { kind: "leased", address, range };
  }
  return { kind: "exhausted" };
}

/** The one address asked for; it must lie in the set. */
export function allocateRequested(set: RangeSet, taken: Taken, address: Ip): Allocation {
  const range = rangeOf(set, address);
  if (range === undefined) throw new RangeError(`${address} is not in the range set`);
  if (isGateway(set, address)) return { kind: "conflict", address, reason: "gateway" };
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

// Bounded by the number of gateways: every other turn of the loop returns.
function firstCandidate(
  set: RangeSet,
  held: AddressSet,
  { range, from, to }: Stretch,
): Ip | undefined {
  for (let value = held.firstFree(from); value <= to; value = held.firstFree(value + 1n)) {
    const address = ipFromBigInt(value, range.family);
    if (!isGateway(set, address)) return address;
  }
  return undefined;
}

// host-local skips a range's own gateway; a gateway of another range of the set is no pod's either.
const isGateway = (set: RangeSet, address: Ip): boolean =>
  set.some((range) => range.gateway === address);
