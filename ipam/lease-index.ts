import { type Ip, compareIps, familyOf, ipToBigInt } from "../core/address.ts";
import { type Taken, takenAddresses } from "./address-set.ts";
import type { KnownFile } from "./directory.ts";
import type { Lease } from "./ipam.ts";
import { type Owner, formatOwner } from "./lease.ts";

/** One address file. */
export type LeaseEntry = readonly [address: Ip, file: KnownFile];

/** The leases of one network in memory, found by address and by owner. */
export class LeaseIndex {
  readonly taken: Taken;
  readonly #files: Map<Ip, KnownFile>;
  readonly #addresses = new Map<string, Ip[]>();

  constructor(entries: readonly LeaseEntry[]) {
    this.#files = new Map(entries);
    this.taken = takenAddresses([...this.#files.keys()]);
    for (const [address, { owner }] of entries) this.#link(address, owner);
  }

  get size(): number {
    return this.#files.size;
  }

  get addresses(): Iterable<Ip> {
    return this.#files.keys();
  }

  file(address: Ip): KnownFile | undefined {
    return this.#files.get(address);
  }

  hold(address: Ip, file: KnownFile): void {
    if (this.#files.has(address)) this.free(address);
    this.#files.set(address, file);
    this.taken[familyOf(address)].add(ipToBigInt(address));
    this.#link(address, file.owner);
  }

  free(address: Ip): void {
    const owner = this.#files.get(address)?.owner;
    this.#files.delete(address);
    this.taken[familyOf(address)].delete(ipToBigInt(address));
    if (owner === undefined) return;
    const key = formatOwner(owner);
    const rest = this.#addresses.get(key)?.filter((other) => other !== address) ?? [];
    if (rest.length === 0) this.#addresses.delete(key);
    else this.#addresses.set(key, rest);
  }

  /** By container and interface; only when there is nothing, by the oldest format's bare container. */
  heldBy({ containerId, ifName }: Owner): readonly Ip[] {
    const exact = this.#addresses.get(formatOwner({ containerId, ifName }));
    return exact ?? this.#addresses.get(formatOwner({ containerId, ifName: "" })) ?? [];
  }

  /** In the order of their addresses; without those whose owner cannot be read. */
  leases(): readonly Lease[] {
    return [...this.#files]
      .flatMap(([address, { owner }]) => (owner === undefined ? [] : [{ address, ...owner }]))
      .sort((a, b) => compareIps(a.address, b.address));
  }

  /** What is held by nobody knows whom: its file cannot be read, or is none. */
  unreadable(): readonly Ip[] {
    return [...this.#files]
      .flatMap(([address, { owner }]) => (owner === undefined ? [address] : []))
      .sort(compareIps);
  }

  #link(address: Ip, owner: Owner | undefined): void {
    if (owner === undefined) return;
    const key = formatOwner(owner);
    const known = this.#addresses.get(key);
    this.#addresses.set(
      key,
      known === undefined ? [address] : [...known, address].sort(compareIps),
    );
  }
}
