import type { Ip } from "../core/address.ts";
import { CniCode, CniError } from "../core/cni/error.ts";
import { describeError } from "../core/error.ts";
import type { Log } from "../core/log.ts";
import type {
  DirectoryContent,
  DirectoryVersion,
  LeaseDirectory,
  OwnerFile,
  Thoroughness,
} from "./directory.ts";
import type {
  DetailedLease,
  Inventory,
  Lease,
  Offer,
  ReserveRequest,
  ReservedAddress,
  SetUsage,
} from "./ipam.ts";
import { type Later, atOnce, isLeft } from "./later.ts";
import { type LeaseDetails, isSameGiving, isSaidOf } from "./journal-event.ts";
import { type Clocks, LeaseMemory, momentOf } from "./lease-memory.ts";
import type { LeaseNotes } from "./lease-notes.ts";
import type { FileStamp, Owner } from "./lease.ts";
import { type RangeSet, rangeOf } from "./range.ts";
import { isOfEarlierBoot } from "./stale.ts";
import type { StickyAddresses } from "./sticky.ts";
import type { Tracking } from "./tracking.ts";
import {
  type PlannedAddress,
  type Reservation,
  planReservation,
  refusalError,
  usageOf,
} from "./reservation.ts";

export interface NetworkLeasesOptions {
  readonly network: string;
  readonly directory: LeaseDirectory;
  readonly notes: LeaseNotes;
  readonly clocks: Clocks;
  readonly log: Log;
  readonly tracking?: Tracking;
  readonly sticky: StickyAddresses;
}

/** One request, with its ranges worked out. */
export interface Order extends Omit<ReserveRequest, keyof Offer> {
  readonly sets: readonly RangeSet[];
}

/**
 * The leases of one network: memory and disk kept the same. Every method is called with the
 * network's lock held and does its whole read-modify-write before it returns. What is in memory is
 * used again as long as nobody else has changed the directory, so that a request reads no file.
 */
export class NetworkLeases {
  readonly #options: NetworkLeasesOptions;
  #memory: LeaseMemory | undefined;
  /** Of the directory as memory has it; undefined when it must be looked at. */
  #version: DirectoryVersion | undefined;
  #areFilesSeen = false;
  /** Nobody else has changed the directory since the last request. */
  #isAsLeft = () => true;
  /** As the last request said. */
  #quarantineMs: number | undefined;

  constructor(options: NetworkLeasesOptions) {
    this.#options = options;
  }

  get #notes(): LeaseNotes {
    return this.#options.notes;
  }

  reserve(order: Order, later: Later = atOnce): readonly ReservedAddress[] {
    const { network, directory, sticky } = this.#options;
    const { clock } = this.#options.clocks;
    this.#quarantineMs = order.quarantineMs ?? 0;
    // The address files decide. Whoever changes the directory without the lock is met by a failing
    // create, or by a range that only seems full: then memory is dropped, and the plan made again.
    let thoroughness: Thoroughness = "names";
    for (let attempt = 0; attempt < 3; attempt++) {
      const wasKnown = this.#version !== undefined;
      const memory = this.#currentFor(order.key, thoroughness);
      const plan = this.#plan(order, memory);
      if (plan.kind !== "planned") {
        if (plan.kind === "exhausted" && this.#freeEarlierBoot(plan.set, memory)) continue;
        if (!wasKnown && this.#areFilesSeen) throw refusalError(plan, network, memory);
        this.#forget();
        thoroughness = "files";
      } else if (this.#write(order, plan.addresses, memory, later)) {
        if (order.isSticky === true) sticky.remember(order.pod, plan.addresses, clock.nowMs());
        return plan.addresses.map(({ address, range }) => ({
          address: { address, prefixLength: range.prefixLength },
          gateway: range.gateway,
        }));
      }
    }
    throw new CniError(
      CniCode.tryAgainLater,
      `Cannot reserve in "${directory.path}": its files change without its lock`,
    );
  }

  release(owner: Owner, why: string, later: Later = atOnce): readonly Ip[] {
    const addresses = this.#current().index.heldBy(owner);
    this.#remove(addresses, why, later);
    return addresses;
  }

  leases(): readonly Lease[] {
    return this.#current().index.leases();
  }

  inventory(): Inventory {
    return this.#current().inventory();
  }

  collect(isValid: (lease: Lease) => boolean, why: string): readonly Lease[] {
    const invalid = this.leases().filter((lease) => !isValid(lease));
    this.#remove(
      invalid.map(({ address }) => address),
      why,
    );
    return invalid;
  }

  usage(sets: readonly RangeSet[]): readonly SetUsage[] {
    const memory = this.#current();
    return sets.map((set) => usageOf(set, memory));
  }

  free(leases: readonly DetailedLease[], why: string): readonly DetailedLease[] {
    const memory = this.#current();
    const same = leases.filter(({ address, details }) => {
      const known = memory.details(address);
      return known !== undefined && details !== undefined && isSameGiving(known, details);
    });
    this.#remove(
      same.map(({ address }) => address),
      why,
    );
    return same;
  }

  /** Those of which connection tracking has nothing can be given; the others rest once more. */
  proveRested(most: number): number {
    const { tracking, clocks } = this.#options;
    const { quarantine } = this.#memory ?? {};
    const quarantineMs = this.#quarantineMs ?? this.#memory?.quarantineMs;
    // Before a request has said how long addresses rest, none has rested long enough.
    if (!tracking || !quarantine || quarantineMs === undefined) return 0;
    quarantine.expire(clocks.boot.elapsedMs(), quarantineMs);
    const addresses = quarantine.unproven(most);
    if (addresses.length === 0) return 0;
    const tracked = this.#trackedAmong(tracking, addresses);
    for (const address of addresses) {
      if (tracked.has(address)) quarantine.freed(address, clocks.boot.elapsedMs());
      else quarantine.proven(address);
    }
    return addresses.length;
  }

  #trackedAmong(tracking: Tracking, addresses: readonly Ip[]): ReadonlySet<Ip> {
    const { network, log } = this.#options;
    try {
      return tracking.trackedAmong(addresses);
    } catch (cause) {
      // Where there is no connection tracking, nothing is tracked.
      log.debug({ network, problem: describeError(cause) }, "cannot look in connection tracking");
      return new Set();
    }
  }

  #plan(order: Order, memory: LeaseMemory): Reservation {
    const { clocks, tracking, sticky } = this.#options;
    const { quarantine, index } = memory;
    quarantine.expire(clocks.boot.elapsedMs(), order.quarantineMs ?? 0);
    const held = index.heldBy(order.key);
    const preferred = order.isSticky === true ? sticky.of(order.pod) : [];
    const demand = { ...order, held, preferred };
    const plan = planReservation(demand, memory);
    if (plan.kind !== "planned" || tracking?.when !== "range is full") return plan;
    const waiting = new Set(quarantine.unproven(Infinity));
    if (!plan.addresses.some(({ address, isNew }) => isNew && waiting.has(address))) return plan;
    this.proveRested(Infinity);
    return planReservation(demand, memory);
  }

  /**
   * Memory that agrees with the disk: on which addresses are held, and by `files` on who holds them
   * too. They differ when another program has freed an address and given it again since the last look, or
   * since the journal's last line about it; then an ADD that only looked at names may give its attachment
   * an address more, which DEL frees.
   */
  #current(thoroughness: Thoroughness = "files"): LeaseMemory {
    const { directory, clocks, tracking } = this.#options;
    const isEnough = thoroughness === "names" || this.#areFilesSeen;
    const isCurrent = isEnough && this.#version === directory.version();
    if (this.#memory !== undefined && isCurrent) return this.#memory;
    try {
      this.#areFilesSeen = thoroughness === "files";
      const memory = this.#memory ?? new LeaseMemory(clocks, tracking !== undefined);
      return this.#look(memory, thoroughness);
    } catch (cause) {
      this.#forget();
      throw cause;
    }
  }

  // Nobody waits for the runtime's DEL while a pod of this boot has no address.
  #freeEarlierBoot(set: RangeSet, memory: LeaseMemory): boolean {
    const now = momentOf(this.#options.clocks);
    const dead = memory.index.leases().flatMap(({ address }) => {
      const given = memory.details(address)?.given;
      const isDead = given !== undefined && isOfEarlierBoot(given, now);
      return isDead && rangeOf(set, address) !== undefined ? [address] : [];
    });
    this.#remove(dead, "of an earlier boot, and the range is full");
    return dead.length > 0;
  }

  // An attachment that seems to hold addresses gets none of them before it is certain.
  #currentFor(owner: Owner, thoroughness: Thoroughness): LeaseMemory {
    const memory = this.#current(thoroughness);
    return memory.index.heldBy(owner).length === 0 ? memory : this.#current();
  }

  #look(memory: LeaseMemory, thoroughness: Thoroughness): LeaseMemory {
    const { directory, network, log } = this.#options;
    this.#memory = memory;
    this.#version = undefined;
    // Read until nothing changed meanwhile: reclaiming is such a change, so twice is usual then.
    for (let attempt = 0; ; attempt++) {
      const version = directory.version();
      this.#notes.hear(memory);
      const content = directory.read(memory.files(), thoroughness);
      const { reclaimed } = content;
      if (reclaimed.length > 0) {
        log.warn(
          { network, addresses: reclaimed },
          "reclaimed addresses whose files were empty or torn",
        );
      }
      this.#renew(content, memory);
      const freed = memory.look(content);
      if (freed.length > 0)
        this.#notes.freed(freed, "by another program", momentOf(this.#options.clocks));
      const isStill = version === directory.version();
      if (isStill) this.#version = directory.mark();
      if (isStill || attempt === 2) return memory;
    }
  }

  #renew({ mended }: DirectoryContent, memory: LeaseMemory): void {
    if (mended.length === 0) return;
    const { network, log } = this.#options;
    const addresses = mended.map(([address]) => address);
    log.warn({ network, addresses }, "wrote leases again whose files somebody had emptied");
    for (const [address, { stamp }] of mended) {
      const details = memory.renew(address, stamp);
      if (details !== undefined) this.#notes.given([address], details);
    }
  }

  // True when all is written; false when an address was taken meanwhile, then nothing is.
  #write(
    order: Order,
    addresses: readonly PlannedAddress[],
    memory: LeaseMemory,
    later: Later,
  ): boolean {
    const added = addresses.filter(({ isNew }) => isNew);
    this.#refresh(
      order,
      addresses.flatMap(({ address, isNew }) => (isNew ? [] : [address])),
      memory,
    );
    if (added.length === 0) return true;
    this.#version = undefined;
    const file = this.#create(order, added, later);
    if (file === undefined) return false;
    for (const { set, address } of added) {
      memory.held(address, { owner: ownerOf(order), stamp: file.stamp }, file.details);
      memory.lastReserved.set(set, address);
    }
    later(() => this.#mark());
    return true;
  }

  // The journal first: what it says is true of the file alone, and a file without it tells less.
  #create(
    order: Order,
    added: readonly PlannedAddress[],
    later: Later,
  ): { readonly stamp: FileStamp; readonly details?: LeaseDetails } | undefined {
    const { directory } = this.#options;
    const created: Ip[] = [];
    let isComplete = false;
    try {
      const work = ({ stamp, giveName }: OwnerFile) => {
        const addresses = added.map(({ address }) => address);
        const details = this.#notes.given(addresses, this.#detailsOf(order, stamp));
        isComplete = addresses.every((address) => {
          const isCreated = giveName(address);
          if (isCreated) created.push(address);
          return isCreated;
        });
        if (!isComplete) return undefined;
        isComplete = false;
        this.#isAsLeft = isLeft(directory, later);
        later(() => this.#recordLast(added));
        isComplete = true;
        return details ? { stamp, details } : { stamp };
      };
      // Where it is not complete, the next attempt comes first.
      return directory.withOwnerFile(ownerOf(order), work, (rest) =>
        (isComplete ? later : atOnce)(rest),
      );
    } finally {
      if (!isComplete) {
        this.#forget();
        for (const address of created) directory.remove(address);
      }
    }
  }

  #mark(): void {
    if (this.#isAsLeft()) this.#version = this.#options.directory.mark();
  }

  #recordLast(added: readonly PlannedAddress[]): void {
    const { directory, network, log } = this.#options;
    const sets = added.flatMap(({ set, address }) =>
      directory.recordLast(set, address) ? [] : [set],
    );
    if (sets.length > 0) log.warn({ network, sets }, "cannot keep where the round robin stands");
  }

  #detailsOf({ key, sandbox, pod, quarantineMs = 0 }: Order, stamp: FileStamp): LeaseDetails {
    return {
      owner: { containerId: key.containerId, ifName: key.ifName },
      stamp,
      given: momentOf(this.#options.clocks),
      quarantineMs,
      ...(sandbox && { sandbox }),
      ...(pod && { pod }),
    };
  }

  // An attachment that asks again may be in another sandbox, and another boot: what is known of its
  // leases must not be of the one before.
  #refresh(order: Order, held: readonly Ip[], memory: LeaseMemory): void {
    for (const address of held) {
      const file = memory.index.file(address);
      const known = memory.details(address);
      if (file === undefined) continue;
      const details = this.#detailsOf(order, file.stamp);
      if (known !== undefined && isSaidOf(known, details)) continue;
      const noted = this.#notes.given([address], details);
      if (noted !== undefined) memory.held(address, file, noted);
    }
  }

  // Goes on past a file that cannot be removed, then throws what went wrong first.
  #remove(addresses: readonly Ip[], why: string, later: Later = atOnce): void {
    if (addresses.length === 0) return;
    const { directory, clocks } = this.#options;
    const memory = this.#current();
    this.#version = undefined;
    const now = momentOf(clocks);
    this.#notes.freed(addresses, why, now);
    const failures: unknown[] = [];
    for (const address of addresses) {
      try {
        directory.remove(address);
        memory.freed(address, now);
      } catch (cause) {
        failures.push(cause);
      }
    }
    if (failures.length > 0) {
      this.#version = directory.mark();
      throw failures[0];
    }
    this.#isAsLeft = isLeft(directory, later);
    later(() => this.#mark());
    later(() => this.#notes.compact(memory));
  }

  #forget(): void {
    this.#memory = undefined;
    this.#version = undefined;
    this.#notes.forget();
  }
}

const ownerOf = ({ key: { containerId, ifName } }: Order): Owner => ({ containerId, ifName });
