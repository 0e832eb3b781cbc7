import type { Ip } from "../../core/address.ts";
import type { PodEntry } from "./pod-book.ts";

/** Pods by their ids, and which addresses any of them has. A change costs its own size. */
export class PodEntries {
  readonly #byId = new Map<string, PodEntry>();
  /** How many have it: for a moment one that ends and one that begins may both. */
  readonly #holders = new Map<Ip, number>();

  values(): Iterable<PodEntry> {
    return this.#byId.values();
  }

  get(id: string): PodEntry | undefined {
    return this.#byId.get(id);
  }

  has(id: string): boolean {
    return this.#byId.has(id);
  }

  isHeld(address: Ip): boolean {
    return this.#holders.has(address);
  }

  set(entry: PodEntry): void {
    this.delete(entry.id);
    this.#byId.set(entry.id, entry);
    for (const address of entry.addresses) this.#count(address, 1);
  }

  delete(id: string): void {
    const entry = this.#byId.get(id);
    if (entry === undefined) return;
    this.#byId.delete(id);
    for (const address of entry.addresses) this.#count(address, -1);
  }

  #count(address: Ip, change: 1 | -1): void {
    const holders = (this.#holders.get(address) ?? 0) + change;
    if (holders === 0) this.#holders.delete(address);
    else this.#holders.set(address, holders);
  }
}
