// Addresses that were freed and rest before they are given again, because packets of their last holder
// may still be about. Pure: time is milliseconds since the boot, which never jumps.
import { type Ip, familyOf, ipToBigInt } from "../core/address.ts";
import { type Taken, takenAddresses } from "./address-set.ts";
import { type RangeSet, exclusionOf, rangeOf } from "./range.ts";

/** More freed addresses than this are not remembered: the oldest are as good as never given. */
const mostRemembered = 65_536;

/** The freed addresses of one network, those that were freed first coming first. */
export class Quarantine {
  /** What is not to be given: held, or freed not long ago. */
  readonly blocked: Taken;
  readonly #resting = new Map<Ip, number>();
  // Their time is up, and connection tracking may still have something of them.
  readonly #unproven = new Map<Ip, number>();
  readonly #needsProof: boolean;

  constructor(held: readonly Ip[], needsProof = false) {
    this.blocked = takenAddresses(held);
    this.#needsProof = needsProof;
  }

  /** How many are remembered. */
  get size(): number {
    return this.#resting.size + this.#unproven.size;
  }

  held(address: Ip): void {
    this.#resting.delete(address);
    this.#unproven.delete(address);
    this.blocked[familyOf(address)].add(ipToBigInt(address));
  }

  /** `atMs` is not before that of the addresses freed before, but for a clock's rounding. */
  freed(address: Ip, atMs: number): void {
    this.#unproven.delete(address);
    this.#resting.delete(address);
    this.#resting.set(address, atMs);
    this.blocked[familyOf(address)].add(ipToBigInt(address));
    for (const oldest of this.resting()) {
      if (this.size <= mostRemembered) break;
      this.#forget(oldest);
    }
  }

  /** Ends the rest of those that were freed `durationMs` ago; 0: all, without proof. */
  expire(nowMs: number, durationMs: number): void {
    for (const [address, atMs] of this.#resting) {
      if (nowMs - atMs < durationMs) break;
      this.#forget(address);
      if (!this.#needsProof || durationMs === 0) continue;
      this.#unproven.set(address, atMs);
      this.blocked[familyOf(address)].add(ipToBigInt(address));
    }
    if (durationMs === 0) for (const address of this.#unproven.keys()) this.#forget(address);
  }

  /** Those whose time is up, the oldest first: they wait for {@link proven}. */
  unproven(most: number): readonly Ip[] {
    return this.#unproven.keys().take(most).toArray();
  }

  /** Nothing is left of it: it is like an address that was never given. */
  proven(address: Ip): void {
    if (this.#unproven.has(address)) this.#forget(address);
  }

  /** Freed and blocked; those that were freed first come first. */
  *resting(): Iterable<Ip> {
    yield* this.#unproven.keys();
    yield* this.#resting.keys();
  }

  /** The same, with when they were freed. */
  *restingSince(): Iterable<readonly [Ip, number]> {
    yield* this.#unproven;
    yield* this.#resting;
  }

  /** How many of the addresses that the set can give rest. */
  count(set: RangeSet): number {
    let count = 0;
    for (const address of this.resting()) {
      const range = rangeOf(set, address);
      if (range && exclusionOf(range, ipToBigInt(address)) === undefined) count++;
    }
    return count;
  }

  #forget(address: Ip): void {
    this.#resting.delete(address);
    this.#unproven.delete(address);
    this.blocked[familyOf(address)].delete(ipToBigInt(address));
  }
}
