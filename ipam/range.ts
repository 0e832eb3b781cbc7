// Ranges of addresses as host-local's configuration has them, made canonical. A range set gives one
// address per attachment; the ranges inside it are alternatives, in their order.
import {
  type Cidr,
  type Family,
  type Ip,
  cidrBase,
  cidrPrefixLength,
  familyOf,
  ipFromBigInt,
  ipToBigInt,
} from "../core/address.ts";
import { CniCode, CniError } from "../core/cni/error.ts";
import type { RangeConf } from "../core/cni/types.ts";
import type { Offer, Withheld } from "./ipam.ts";

/** A range with nothing left open. Bounds are inclusive. */
export interface Range {
  readonly subnet: Cidr;
  readonly family: Family;
  readonly prefixLength: number;
  readonly start: Ip;
  readonly end: Ip;
  /** Never given, wherever it lies. */
  readonly gateway: Ip;
  /** `start` and `end` as numbers. */
  readonly first: bigint;
  readonly last: bigint;
  /** Of its set: where the round robin is kept, `last_reserved_ip.<place>`. */
  readonly place?: number;
  /** Whose block it is, where it is the node's. */
  readonly pool?: string;
  /** What of it nobody gets; in no order, and may overlap. */
  readonly excluded: readonly Exclusion[];
}

/** Inclusive, inside the range. */
export interface Exclusion {
  readonly first: bigint;
  readonly last: bigint;
  readonly reason: "gateway" | Withheld["reason"];
}

/** At least one range, all of one family, none overlapping another. */
export type RangeSet = readonly Range[];

/** One set per family: a pod gets one address of each; further pod CIDRs of a family are alternatives. */
export function nodeRanges(podCidrs: readonly Cidr[]): RangeConf[][] {
  // host-local's defaults fit: the network address is fl-vxlan's (core/pod-cidr), the next one is the
  // conventional gateway, which nobody gets, so that a node can move to host-local and back.
  const families = new Map<Family, RangeConf[]>();
  for (const subnet of podCidrs) {
    const family = familyOf(subnet);
    families.set(family, [...(families.get(family) ?? []), { subnet }]);
  }
  return [...families.values()];
}

/** Throws CniError invalidConfig naming the first thing wrong: what host-local refuses, in its order. */
export function canonicalSets(offer: Offer): readonly RangeSet[] {
  const { ranges, withheld, pool, firstPlace } = offer;
  const known = canonicalOffers.get(ranges);
  const isSame =
    known?.offer.withheld === withheld &&
    known?.offer.pool === pool &&
    known?.offer.firstPlace === firstPlace;
  if (known !== undefined && isSame) return known.sets;
  const sets = calculateSets(offer);
  canonicalOffers.set(ranges, { offer: { ranges, withheld, pool, firstPlace }, sets });
  return sets;
}

// The node's own offer is the same for request after request.
const canonicalOffers = new WeakMap<
  Offer["ranges"],
  {
    readonly offer: { readonly [Part in keyof Offer]: Offer[Part] | undefined };
    readonly sets: readonly RangeSet[];
  }
>();

function calculateSets({ ranges, withheld = [], pool, firstPlace }: Offer): readonly RangeSet[] {
  if (ranges.length === 0)
    throw invalid("Cannot give addresses without a range: none is configured");
  const sets = ranges.map((confs, index) =>
    withExclusions(canonicalSet(confs, index), withheld).map((range) => ({
      ...range,
      ...(pool !== undefined && { pool }),
      ...(firstPlace !== undefined && { place: firstPlace + index }),
    })),
  );
  const seen: Range[] = [];
  for (const set of sets) {
    refuseOverlap(seen, set, "two range sets");
    seen.push(...set);
  }
  return sets;
}

function canonicalSet(confs: readonly RangeConf[], index: number): RangeSet {
  const set = confs.map(canonicalRange);
  const [first] = set;
  if (first === undefined) throw invalid(`Cannot use range set ${index}: it has no range`);
  const other = set.find((range) => range.family !== first.family);
  if (other !== undefined) {
    throw invalid(
      `Cannot use range set ${index}: ${first.subnet} is IPv${first.family} and ` +
        `${other.subnet} is IPv${other.family}, a set has one family`,
    );
  }
  set.forEach((range, at) => refuseOverlap(set.slice(0, at), [range], `range set ${index}`));
  return set;
}

// host-local skips a range's own gateway; a gateway of another range of the set is no pod's either.
function withExclusions(set: RangeSet, withheld: readonly Withheld[]): RangeSet {
  const gateways = set.map(({ gateway }) => ({
    first: gateway,
    last: gateway,
    reason: "gateway" as const,
  }));
  const spans = [...gateways, ...withheld];
  return set.map((range) => ({
    ...range,
    excluded: spans.flatMap((span) => {
      if (familyOf(span.first) !== range.family) return [];
      const [first, last] = [ipToBigInt(span.first), ipToBigInt(span.last)];
      if (first > range.last || last < range.first) return [];
      const clipped = { first: max(first, range.first), last: min(last, range.last) };
      return [{ ...clipped, reason: span.reason }];
    }),
  }));
}

const max = (a: bigint, b: bigint): bigint => (a > b ? a : b);
const min = (a: bigint, b: bigint): bigint => (a < b ? a : b);

/** Fills in host-local's defaults: network+1 to broadcast-1 (IPv6: to the end), gateway network+1. */
export function canonicalRange(conf: RangeConf): Range {
  const { subnet } = conf;
  const family = familyOf(subnet);
  const prefixLength = cidrPrefixLength(subnet);
  const hostBits = (family === 4 ? 32 : 128) - prefixLength;
  if (hostBits < 2) {
    throw invalid(
      `Cannot use subnet "${subnet}" as a range: it is too small, ` +
        `expected a prefix of at most /${prefixLength + hostBits - 2}`,
    );
  }
  const base = ipToBigInt(cidrBase(subnet));
  const top = base + (1n << BigInt(hostBits)) - 1n;
  const ip = (value: bigint): Ip => ipFromBigInt(value, family);
  const bound = (key: "rangeStart" | "rangeEnd", standard: bigint): bigint => {
    const given = conf[key];
    if (given === undefined) return standard;
    const value = ipToBigInt(given);
    if (familyOf(given) === family && value >= base && value <= top) return value;
    throw invalid(`Cannot use ${key} "${given}": it is not in the subnet ${subnet}`);
  };
  const first = bound("rangeStart", base + 1n);
  const last = bound("rangeEnd", family === 4 ? top - 1n : top);
  if (first > last) {
    throw invalid(`Cannot use rangeStart "${ip(first)}": it is after rangeEnd "${ip(last)}"`);
  }
  const gateway = conf.gateway ?? ip(base + 1n);
  if (familyOf(gateway) !== family) {
    throw invalid(`Cannot use gateway "${gateway}": the subnet ${subnet} is IPv${family}`);
  }
  return {
    subnet,
    family,
    prefixLength,
    start: ip(first),
    end: ip(last),
    gateway,
    first,
    last,
    excluded: [],
  };
}

export const rangeContains = (range: Range, address: Ip): boolean => {
  if (familyOf(address) !== range.family) return false;
  const value = ipToBigInt(address);
  return range.first <= value && value <= range.last;
};

/** The range of the set that an address lies in. */
export const rangeOf = (set: RangeSet, address: Ip): Range | undefined =>
  set.find((range) => rangeContains(range, address));

/** `10.244.1.1-10.244.1.254 of 10.244.1.0/24`, several with commas; in `pool "db" (…)`. */
export function formatSet(set: RangeSet): string {
  const ranges = set.map((range) => `${range.start}-${range.end} of ${range.subnet}`).join(", ");
  const pool = set[0]?.pool;
  return pool === undefined ? ranges : `pool "${pool}" (${ranges})`;
}

/** How many addresses the set can give: what is excluded does not count. */
export const setSize = (set: RangeSet): bigint =>
  set.flatMap(givable).reduce((sum, { first, last }) => sum + last - first + 1n, 0n);

/** How many of the set the operator keeps from pods. */
export const reservedCount = (set: RangeSet): bigint =>
  setSize(
    set.map((range) => ({
      ...range,
      excluded: range.excluded.filter(({ reason }) => reason !== "reserved"),
    })),
  ) - setSize(set);

/** The stretches of a range between what is excluded, in ascending order. */
export function givable({ first, last, excluded }: Range): readonly Stretch[] {
  const stretches: Stretch[] = [];
  let from = first;
  for (const span of [...excluded].sort((a, b) => (a.first < b.first ? -1 : 1))) {
    if (span.first > from) stretches.push({ first: from, last: span.first - 1n });
    from = max(from, span.last + 1n);
  }
  if (from <= last) stretches.push({ first: from, last });
  return stretches;
}

/** Inclusive. */
export interface Stretch {
  readonly first: bigint;
  readonly last: bigint;
}

/** What excludes the address, if anything does. */
export const exclusionOf = ({ excluded }: Range, address: bigint): Exclusion | undefined =>
  excluded.find(({ first, last }) => first <= address && address <= last);

const rangesOverlap = (a: Range, b: Range): boolean =>
  a.family === b.family && a.first <= b.last && b.first <= a.last;

function refuseOverlap(earlier: readonly Range[], later: readonly Range[], where: string): void {
  for (const b of later) {
    const a = earlier.find((range) => rangesOverlap(range, b));
    if (a !== undefined) {
      throw invalid(
        `Cannot use overlapping ranges in ${where}: ${formatSet([a])} and ${formatSet([b])}`,
      );
    }
  }
}

const invalid = (message: string): CniError => new CniError(CniCode.invalidConfig, message);
