// Addresses that were freed and rest before they are given again, because packets of their last holder
// may still be about. Pure: time is milliseconds since the boot, which never jumps.
import { type Ip, familyOf, ipToBigInt } from "../core/address.ts";
import { type Taken, takenAddresses } from "./address-set.ts";
import { type RangeSet, rangeOf } from "./range.ts";

/** More freed addresses than this are not remembered: the oldest are as good as never given. */
const mostRemembered = 65_536;

/** The resting addresses of one network, those that were freed first coming first. */
export class Quarantine {
  /** What is not to be given: held, or resting. */
  readonly blocked: Taken;
  readonly #resting = new Map<Ip, number>();
  // Their time is up; whether connection tracking still has something of them is not known yet.
  readonly #rested = new Map<Ip, number>();

  constructor(held: readonly Ip[]) {
    this.blocked = takenAddresses(held);
  }

  /** How many are remembered. */
  get size(): number {
    return this.#resting.size + this.#rested.size;
  }

  /** Freed addresses that are remembered, with when. */
  *remembered(): Iterable<readonly [Ip, number]> {
    yield* this.#rested;
    yield* this.#resting;
  }

  held(address: Ip): void {
    this.#resting.delete(address);
    this.#rested.delete(address);
    this.blocked[familyOf(address)].add(ipToBigInt(address));
  }

  /** `atMs` is not before that of the addresses freed before, but for a clock's rounding. */
  freed(address: Ip, atMs: number): void {
    this.#rested.delete(address);
    this.#resting.delete(address);
    this.#resting.set(address, atMs);
    this.blocked[familyOf(address)].add(ipToBigInt(address));
    for (const [oldest] of this.#resting) {
      if (this.#resting.size <= mostRemembered) break;
      this.#resting.delete(oldest);
      this.#unblock(oldest);
    }
  }

  /** Ends the rest of those that were freed `durationMs` ago. */
  expire(nowMs: number, durationMs: number): void {
    for (const [address, atMs] of this.#resting) {
      if (nowMs - atMs < durationMs) break;
      this.#resting.delete(address);
      this.#unblock(address);
      if (durationMs > 0) this.#rested.set(address, atMs);
    }
    if (durationMs === 0) this.#rested.clear();
    for (const [oldest] of this.#rested) {
      if (this.#rested.size <= mostRemembered) break;
      this.#rested.delete(oldest);
    }
  }

  /** Whether it must be looked for in connection tracking before it is given. */
  isUnproven(address: Ip): boolean {
    return this.#rested.has(address);
  }

  /** Those, the oldest first. */
  unproven(most: number): readonly Ip[] {
    return this.#rested.keys().take(most).toArray();
  }

  /** Nothing is left of it: it is like an address that was never given. */
  proven(address: Ip): void {
    this.#rested.delete(address);
  }

  /** Those that were freed first come first. */
  resting(): Iterable<Ip> {
    return this.#resting.keys();
  }

  /** With when they were freed. */
  restingSince(): Iterable<readonly [Ip, number]> {
    return this.#resting;
  }

  /** How many of the set's addresses rest. */
  count(set: RangeSet): number {
    let count = 0;
    for (const address of this.#resting.keys()) if (rangeOf(set, address) !== undefined) count++;
    return count;
  }

  #unblock(address: Ip): void {
    this.blocked[familyOf(address)].delete(ipToBigInt(address));
  }
}
