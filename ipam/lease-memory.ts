// What is known of one network's leases: the files' say on who holds what, and the journal's on the
// rest. Pure.
import type { BootClock, Clock } from "../core/clock.ts";
import type { Ip } from "../core/address.ts";
import type { Taken } from "./address-set.ts";
import type { DirectoryContent, FileMemory, KnownFile } from "./directory.ts";
import type { Inventory } from "./ipam.ts";
import type { JournalEvent, LeaseDetails, Moment } from "./journal-event.ts";
import type { JournalNews } from "./journal.ts";
import { LeaseIndex } from "./lease-index.ts";
import { type FileStamp, isSameFile } from "./lease.ts";
import { Quarantine } from "./quarantine.ts";
import type { Holdings } from "./reservation.ts";

export interface Clocks {
  readonly clock: Clock;
  readonly boot: BootClock;
}

export const momentOf = ({ clock, boot }: Clocks): Moment => ({
  bootId: boot.bootId,
  elapsedMs: boot.elapsedMs(),
  wallMs: clock.nowMs(),
});

export class LeaseMemory implements Holdings {
  readonly index = new LeaseIndex([]);
  readonly quarantine: Quarantine;
  lastReserved: Map<number, Ip> = new Map();
  /** How long addresses of the network rest, as its last request said; undefined: not known. */
  quarantineMs: number | undefined;
  readonly #clocks: Clocks;
  /** What the journal says was given: true of a lease whose file has the stamp. */
  readonly #given = new Map<Ip, LeaseDetails>();
  /** What the journal says was freed, until the files were looked at. */
  readonly #freed = new Map<Ip, Moment>();

  constructor(clocks: Clocks, needsProof = false) {
    this.#clocks = clocks;
    this.quarantine = new Quarantine([], needsProof);
  }

  get taken(): Taken {
    return this.index.taken;
  }

  /** How many lines a journal of all this has, at most. */
  get lines(): number {
    return this.#given.size + this.quarantine.size;
  }

  /** Only together with {@link look}: the files decide. */
  hear({ isWhole, events }: JournalNews): void {
    if (isWhole) this.#given.clear();
    for (const event of events) {
      if (event.kind === "journal" || event.kind === "sticky") continue;
      for (const address of event.addresses) {
        if (event.kind === "freed") this.#freed.set(address, event.freed);
        else {
          this.#freed.delete(address);
          this.#given.set(address, event.details);
          this.quarantineMs = event.details.quarantineMs ?? this.quarantineMs;
        }
      }
    }
  }

  /** For reading the directory: a file that is known needs not be opened. */
  files(): FileMemory {
    const { bootId } = this.#clocks.boot;
    const noted = (address: Ip): KnownFile | undefined => {
      const details = this.#given.get(address);
      // After a power cut a file may have its time and not its content.
      return details?.given.bootId === bootId ? details : undefined;
    };
    return {
      seen: (address) =>
        this.index.file(address) ?? (this.#freed.has(address) ? undefined : noted(address)),
      known: (address) => this.index.file(address) ?? noted(address),
    };
  }

  /** What is known of the lease is so of its file with this stamp. Undefined when nothing is. */
  renew(address: Ip, stamp: FileStamp): LeaseDetails | undefined {
    const known = this.#given.get(address);
    if (known === undefined) return undefined;
    const renewed = { ...known, stamp };
    this.#given.set(address, renewed);
    return renewed;
  }

  /**
   * Takes over what the directory has. Returns the addresses that are free now and of which the journal
   * does not say so: somebody else freed them.
   */
  look({ entries, lastReserved }: DirectoryContent): readonly Ip[] {
    this.lastReserved = lastReserved;
    const found = new Set<Ip>();
    for (const [address, file] of entries) {
      found.add(address);
      const known = this.index.file(address);
      if (known === file) continue;
      if (known === undefined || !isSameFile(known.stamp, file.stamp)) this.held(address, file);
      if (this.details(address) === undefined) this.#given.delete(address);
    }
    const gone = [
      ...(found.size < this.index.size ? this.index.addresses : []),
      ...this.#given.keys(),
    ].filter((one) => !found.has(one));
    for (const address of gone) {
      this.index.free(address);
      this.#given.delete(address);
    }
    for (const [address, freed] of this.#freed) {
      if (!found.has(address)) this.quarantine.freed(address, this.#since(freed));
    }
    const unheard = [...new Set(gone)].filter((address) => !this.#freed.has(address));
    this.#freed.clear();
    for (const address of unheard) this.quarantine.freed(address, this.#clocks.boot.elapsedMs());
    return unheard;
  }

  held(address: Ip, { owner, stamp }: KnownFile, details?: LeaseDetails): void {
    this.index.hold(address, { owner, stamp });
    this.quarantine.held(address);
    if (details !== undefined) this.#given.set(address, details);
  }

  freed(address: Ip, { elapsedMs }: Moment): void {
    this.index.free(address);
    this.#given.delete(address);
    this.quarantine.freed(address, elapsedMs);
  }

  /** Absent for a lease that another program made. */
  details(address: Ip): LeaseDetails | undefined {
    const details = this.#given.get(address);
    const file = this.index.file(address);
    return details !== undefined && file !== undefined && isSameFile(details.stamp, file.stamp)
      ? details
      : undefined;
  }

  inventory(): Inventory {
    const now = this.#clocks.boot.elapsedMs();
    return {
      unreadable: this.index.unreadable(),
      leases: this.index.leases().map((lease) => {
        const details = this.details(lease.address);
        return details === undefined ? lease : { ...lease, details };
      }),
      resting: Array.from(this.quarantine.restingSince(), ([address, atMs]) => ({
        address,
        forMs: now - atMs,
      })),
    };
  }

  /** A journal that says all this and no more. */
  events(): readonly JournalEvent[] {
    const together = new Map<LeaseDetails, Ip[]>();
    for (const [address, details] of this.#given) {
      const addresses = together.get(details) ?? [];
      together.set(details, [...addresses, address]);
    }
    const now = momentOf(this.#clocks);
    return [
      ...Array.from(together, ([details, addresses]): JournalEvent => {
        return { kind: "given", addresses, details };
      }),
      ...Array.from(this.quarantine.restingSince(), ([address, atMs]): JournalEvent => {
        const freed = { ...now, elapsedMs: atMs, wallMs: now.wallMs - (now.elapsedMs - atMs) };
        return { kind: "freed", addresses: [address], why: "compacted", freed };
      }),
    ];
  }

  // In this boot's time. Of an earlier boot the wall clock tells, which may have jumped: at least this
  // boot has passed since, and never is an address taken for freed in the future.
  #since({ bootId, elapsedMs, wallMs }: Moment): number {
    const now = momentOf(this.#clocks);
    const ageMs =
      bootId === now.bootId
        ? now.elapsedMs - elapsedMs
        : Math.max(now.elapsedMs, now.wallMs - wallMs);
    return now.elapsedMs - Math.max(0, ageMs);
  }
}
