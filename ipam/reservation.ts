// One request for addresses, decided as a whole before anything is written. Pure.
import type { Ip } from "../core/address.ts";
import { CniCode, CniError } from "../core/cni/error.ts";
import { assertNever } from "../core/assert.ts";
import type { Taken } from "./address-set.ts";
import type { SetUsage } from "./ipam.ts";
import { type Allocation, allocateNext, allocateRequested } from "./allocate.ts";
import type { Quarantine } from "./quarantine.ts";
import {
  type Exclusion,
  type Range,
  type RangeSet,
  type Stretch,
  formatSet,
  givable,
  rangeOf,
  reservedCount,
  setSize,
} from "./range.ts";

export interface Demand {
  readonly sets: readonly RangeSet[];
  readonly requestedIps: readonly Ip[];
  /** What the attachment holds already. */
  readonly held: readonly Ip[];
  /** Given before all others where they are free, also out of quarantine. */
  readonly preferred?: readonly Ip[];
}

/** What of the network's state the decision rests on. */
export interface Holdings {
  readonly taken: Taken;
  /** Addresses that were freed not long ago: given only where there is no other. */
  readonly quarantine: Pick<Quarantine, "blocked" | "resting" | "count">;
  /** By the range set's place in the configuration. */
  readonly lastReserved: ReadonlyMap<number, Ip>;
}

export interface PlannedAddress {
  readonly set: number;
  readonly range: Range;
  readonly address: Ip;
  /** Not held before: to be written. */
  readonly isNew: boolean;
}

export type Refusal =
  | { readonly kind: "exhausted"; readonly set: RangeSet }
  | {
      readonly kind: "conflict";
      readonly address: Ip;
      /** `other`: the attachment holds another address of this set. */
      readonly reason: Exclusion["reason"] | "held" | "other";
    }
  /** Requested addresses that no set has, or of which a set has several. */
  | {
      readonly kind: "unused";
      readonly addresses: readonly Ip[];
      readonly sets: readonly RangeSet[];
    };

export type Reservation =
  | { readonly kind: "planned"; readonly addresses: readonly PlannedAddress[] }
  | Refusal;

/** One address per set, in their order: what is held already, else what is requested, else the next. */
export function planReservation(demand: Demand, holdings: Holdings): Reservation {
  const { sets } = demand;
  const unused = new Set(demand.requestedIps);
  const requests = sets.map((set) => {
    const requested = [...unused].find((address) => rangeOf(set, address) !== undefined);
    if (requested !== undefined) unused.delete(requested);
    return requested;
  });
  // Before it is told that a set is full: another one, or another time, would not help.
  if (unused.size > 0) return { kind: "unused", addresses: [...unused], sets };
  const addresses: PlannedAddress[] = [];
  for (const [at, set] of sets.entries()) {
    const index = set[0]?.place ?? at;
    const requested = requests[at];
    const planned = planSet({ ...demand, set, index, requested }, holdings);
    if (planned.kind !== "planned") return planned;
    addresses.push(planned.address);
  }
  return { kind: "planned", addresses };
}

interface SetDemand extends Pick<Demand, "held" | "preferred"> {
  readonly set: RangeSet;
  readonly index: number;
  readonly requested: Ip | undefined;
}

function planSet(
  { set, index, requested, held, preferred = [] }: SetDemand,
  holdings: Holdings,
): Refusal | { readonly kind: "planned"; readonly address: PlannedAddress } {
  const heldHere = held.filter((address) => rangeOf(set, address) !== undefined);
  const again = requested === undefined ? heldHere[0] : heldHere.find((one) => one === requested);
  const range = again === undefined ? undefined : rangeOf(set, again);
  if (again !== undefined && range !== undefined) {
    return { kind: "planned", address: { set: index, range, address: again, isNew: false } };
  }
  if (requested !== undefined && heldHere.length > 0) {
    return { kind: "conflict", address: requested, reason: "other" };
  }
  const result =
    requested === undefined
      ? (allocatePreferred(set, preferred, holdings) ?? allocateFree(set, index, holdings))
      : allocateRequested(set, holdings.taken, requested);
  switch (result.kind) {
    case "leased":
      return {
        kind: "planned",
        address: { set: index, range: result.range, address: result.address, isNew: true },
      };
    case "exhausted":
      return { kind: "exhausted", set };
    case "conflict":
      return result;
    default:
      return assertNever(result);
  }
}

function allocatePreferred(
  set: RangeSet,
  preferred: readonly Ip[],
  { taken }: Holdings,
): Allocation | undefined {
  for (const address of preferred) {
    if (rangeOf(set, address) === undefined) continue;
    const again = allocateRequested(set, taken, address);
    if (again.kind === "leased") return again;
  }
  return undefined;
}

function allocateFree(
  set: RangeSet,
  index: number,
  { taken, quarantine, lastReserved }: Holdings,
): Allocation {
  const next = allocateNext(set, quarantine.blocked, lastReserved.get(index));
  if (next.kind !== "exhausted") return next;
  for (const address of quarantine.resting()) {
    if (rangeOf(set, address) === undefined) continue;
    const longest = allocateRequested(set, taken, address);
    if (longest.kind === "leased") return longest;
  }
  return next;
}

/** What the runtime is told. */
export function refusalError(
  refusal: Refusal,
  network: string,
  holdings: Pick<Holdings, "taken" | "quarantine">,
): CniError {
  switch (refusal.kind) {
    case "exhausted": {
      const { size, held, resting } = usageOf(refusal.set, holdings);
      const kept = reservedCount(refusal.set);
      const reserved = kept === 0n ? "" : `, ${kept} are reserved (network.ipam.reserved)`;
      return new CniError(
        CniCode.addressesExhausted,
        `Cannot give an address of network "${network}": ${held} of ${size} are held ` +
          `in ${formatSet(refusal.set)}, ${resting} rest in quarantine${reserved}`,
      );
    }
    case "conflict":
      return new CniError(
        CniCode.invalidConfig,
        `Cannot give the requested address "${refusal.address}" of network "${network}": ` +
          conflictReasons[refusal.reason],
      );
    case "unused":
      return new CniError(
        CniCode.invalidConfig,
        `Cannot give the requested address "${refusal.addresses.join('", "')}" of network ` +
          `"${network}": expected at most one in each range set, inside its bounds: ` +
          refusal.sets.map(formatSet).join("; "),
      );
    default:
      return assertNever(refusal);
  }
}

const conflictReasons = {
  gateway: "it is the gateway",
  reserved: "it is reserved (network.ipam.reserved)",
  overlay: "it is that of the VXLAN device",
  used: "this node reaches it already, by another attachment or as somebody else has set it",
  held: "it is held by another attachment",
  other: "the attachment holds another address of the same range set",
} as const;

export function usageOf(
  set: RangeSet,
  { taken, quarantine }: Pick<Holdings, "taken" | "quarantine">,
): SetUsage {
  const takenIn = (range: Range, { first, last }: Stretch): number =>
    taken[range.family].countBetween(first, last);
  const sum = (counts: readonly number[]): number => counts.reduce((all, one) => all + one, 0);
  const held = sum(
    set.flatMap((range) => givable(range).map((stretch) => takenIn(range, stretch))),
  );
  return {
    ranges: formatSet(set),
    size: setSize(set),
    held,
    heldBesides: sum(set.map((range) => takenIn(range, range))) - held,
    resting: quarantine.count(set),
  };
}
