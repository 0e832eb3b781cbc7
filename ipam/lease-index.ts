import { type Ip, compareIps, familyOf, ipToBigInt } from "../core/address.ts";
import { type Taken, takenAddresses } from "./address-set.ts";
import type { Lease } from "./ipam.ts";
import { type Owner, formatOwner } from "./lease.ts";

/** One address file: who holds the address, or undefined when that cannot be read. */
export type LeaseEntry = readonly [address: Ip, owner: Owner | undefined];

/** The leases of one network in memory, found by address and by owner. */
export class LeaseIndex {
  readonly taken: Taken;
  readonly #owners: Map<Ip, Owner | undefined>;
  readonly #addresses = new Map<string, Ip[]>();

  constructor(entries: readonly LeaseEntry[]) {
    this.#owners = new Map(entries);
    this.taken = takenAddresses([...this.#owners.keys()]);
    for (const [address, owner] of entries) this.#link(address, owner);
  }

  hold(address: Ip, { containerId, ifName }: Owner): void {
    const owner = { containerId, ifName };
    this.#owners.set(address, owner);
    this.taken[familyOf(address)].add(ipToBigInt(address));
    this.#link(address, owner);
  }

  free(address: Ip): void {
    const owner = this.#owners.get(address);
    this.#owners.delete(address);
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
    return [...this.#owners]
      .flatMap(([address, owner]) => (owner === undefined ? [] : [{ address, ...owner }]))
      .sort((a, b) => compareIps(a.address, b.address));
  }

  #link(address: Ip, owner: Owner | undefined): void {
    if (owner === undefined) return;
    const key = formatOwner(owner);
    this.#addresses.set(key, [...(this.#addresses.get(key) ?? []), address].sort(compareIps));
  }
}
