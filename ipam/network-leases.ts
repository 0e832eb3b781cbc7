import type { Ip } from "../core/address.ts";
import { CniCode, CniError } from "../core/cni/error.ts";
import type { Log } from "../core/log.ts";
import type { DirectoryVersion, LeaseDirectory } from "./directory.ts";
import type { Lease, ReservedAddress, SetUsage } from "./ipam.ts";
import { LeaseIndex } from "./lease-index.ts";
import type { Owner } from "./lease.ts";
import type { RangeSet } from "./range.ts";
import {
  type Holdings,
  type PlannedAddress,
  planReservation,
  refusalError,
  usageOf,
} from "./reservation.ts";

interface State extends Holdings {
  readonly index: LeaseIndex;
  readonly lastReserved: Map<number, Ip>;
}

/**
 * The leases of one network: memory and disk kept the same. Every method is called with the
 * network's lock held and does its whole read-modify-write before it returns. What is in memory is
 * used again as long as nobody else has changed the directory, so that a request reads no file.
 */
export class NetworkLeases {
  readonly #network: string;
  readonly #directory: LeaseDirectory;
  readonly #log: Log;
  #known: { readonly state: State; readonly version: DirectoryVersion } | undefined;

  constructor(network: string, directory: LeaseDirectory, log: Log) {
    this.#network = network;
    this.#directory = directory;
    this.#log = log;
  }

  reserve(
    owner: Owner,
    sets: readonly RangeSet[],
    requestedIps: readonly Ip[],
  ): readonly ReservedAddress[] {
    // The address files decide. Whoever changes the directory without the lock is met by a failing
    // create, or by a range that only seems full: then memory is dropped, and the plan made again.
    for (let attempt = 0; attempt < 3; attempt++) {
      const wasKnown = this.#known !== undefined;
      const state = this.#state();
      const held = state.index.heldBy(owner);
      const plan = planReservation({ sets, requestedIps, held }, state);
      if (plan.kind !== "planned") {
        if (!wasKnown) throw refusalError(plan, this.#network, state.taken);
        this.#known = undefined;
      } else if (this.#write(owner, plan.addresses, state)) {
        return plan.addresses.map(({ address, range }) => ({
          address: { address, prefixLength: range.prefixLength },
          gateway: range.gateway,
        }));
      }
    }
    throw new CniError(
      CniCode.tryAgainLater,
      `Cannot reserve in "${this.#directory.path}": its files change without its lock`,
    );
  }

  release(owner: Owner): readonly Ip[] {
    const addresses = this.#state().index.heldBy(owner);
    this.#remove(addresses);
    return addresses;
  }

  leases(): readonly Lease[] {
    return this.#state().index.leases();
  }

  collect(isValid: (lease: Lease) => boolean): readonly Lease[] {
    const invalid = this.leases().filter((lease) => !isValid(lease));
    this.#remove(invalid.map(({ address }) => address));
    return invalid;
  }

  usage(sets: readonly RangeSet[]): readonly SetUsage[] {
    const { taken } = this.#state();
    return sets.map((set) => usageOf(set, taken));
  }

  #state(): State {
    const known = this.#known;
    if (known !== undefined && known.version === this.#directory.version()) return known.state;
    return this.#readAgain();
  }

  #readAgain(): State {
    this.#known = undefined;
    // Read until nothing changed meanwhile: reclaiming is such a change, so twice is usual then.
    for (let attempt = 0; ; attempt++) {
      const version = this.#directory.version();
      const { entries, lastReserved, reclaimed } = this.#directory.read();
      if (reclaimed.length > 0) {
        this.#log.warn(
          { network: this.#network, addresses: reclaimed },
          "reclaimed addresses whose files were empty or torn",
        );
      }
      const index = new LeaseIndex(entries);
      const state = { index, taken: index.taken, lastReserved };
      const isStill = version === this.#directory.version();
      if (isStill) this.#known = { state, version: this.#directory.mark() };
      if (isStill || attempt === 2) return state;
    }
  }

  // True when all is written; false when an address was taken meanwhile, then nothing is.
  #write(owner: Owner, addresses: readonly PlannedAddress[], state: State): boolean {
    const added = addresses.filter(({ isNew }) => isNew);
    if (added.length === 0) return true;
    this.#known = undefined;
    const created: Ip[] = [];
    let isComplete = false;
    try {
      isComplete = added.every(({ address }) => {
        const isCreated = this.#directory.create(address, owner);
        if (isCreated) created.push(address);
        return isCreated;
      });
      if (isComplete)
        for (const { set, address } of added) this.#directory.recordLast(set, address);
    } catch (cause) {
      isComplete = false;
      throw cause;
    } finally {
      if (!isComplete) for (const address of created) this.#directory.remove(address);
    }
    if (!isComplete) return false;
    for (const { set, address } of added) {
      state.index.hold(address, owner);
      state.lastReserved.set(set, address);
    }
    this.#known = { state, version: this.#directory.mark() };
    return true;
  }

  // Goes on past a file that cannot be removed, then throws what went wrong first.
  #remove(addresses: readonly Ip[]): void {
    if (addresses.length === 0) return;
    const state = this.#state();
    this.#known = undefined;
    const failures: unknown[] = [];
    for (const address of addresses) {
      try {
        this.#directory.remove(address);
        state.index.free(address);
      } catch (cause) {
        failures.push(cause);
      }
    }
    this.#known = { state, version: this.#directory.mark() };
    if (failures.length > 0) throw failures[0];
  }
}
