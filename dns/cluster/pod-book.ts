// What this node knows of its pods, for the resolver: who asks, what a pod's names are, and which
// addresses no answer may name. Main thread; the resolver's thread gets what changes.
import { isDeepStrictEqual } from "node:util";
import type { Cidr, Ip } from "../../core/address.ts";
import type { Attachment } from "../../core/cluster/attachment.ts";
import { PodEntries } from "./pod-entries.ts";

/** What a pod's resolv.conf says, as far as the node knows it. */
export interface SearchList {
  /** In the order in which names are tried below them. */
  readonly domains: readonly string[];
  /** A name with so many dots is tried as it is first. */
  readonly ndots: number;
}

/** An attachment as the resolver's thread has it: plain data, made to be cloned. */
export interface PodEntry extends Omit<Attachment, "nodeName"> {
  readonly search?: SearchList;
}

/** What brings a directory of pods from one state to the next. */
export interface PodsUpdate {
  /** What was known before is void. */
  readonly isComplete: boolean;
  readonly set: readonly PodEntry[];
  /** By id. */
  readonly removed: readonly string[];
  /** No answer may name these from now on. */
  readonly withheld: readonly Ip[];
  /** These may be named again. */
  readonly lifted: readonly Ip[];
  /** All networks of which no answer may name an address, where they are others than before. */
  readonly withheldNetworks?: readonly Cidr[];
}

/**
 * Resolves when every answer from now on goes by the update, or nobody answers; at once when that is not
 * awaited. Updates take effect in their order.
 */
export type PodsFollower = (update: PodsUpdate, isAwaited: boolean) => Promise<void>;

const nothing: PodsUpdate = { isComplete: false, set: [], removed: [], withheld: [], lifted: [] };

/** More than the pods that a node ever had at one time; what was withheld longest ago is given up first. */
const maxWithheld = 4096;
/** Each is looked at for each address of a service that is asked for first. */
const maxNetworks = 256;

/**
 * An attachment that is being made is withheld, announced when it works, withdrawn before it ends. Its
 * addresses stay withheld until somebody has them again: an endpoint slice names them for a while.
 */
export class PodBook {
  readonly #entries = new PodEntries();
  /** Other nodes'. */
  #others: ReadonlyMap<string, Attachment> = new Map();
  /** Oldest first. */
  readonly #withheld = new Set<Ip>();
  #withheldNetworks: readonly Cidr[] = [];
  /** Their records are still there: what ended them is at work, or failed. */
  readonly #withdrawn = new Set<string>();
  #follower: PodsFollower | undefined;

  /** Takes the place of another follower. */
  follow(follower: PodsFollower): void {
    this.#follower = follower;
  }

  /** Those announced. */
  entries(): Iterable<PodEntry> {
    return this.#entries.values();
  }

  complete(): PodsUpdate {
    const set = [...this.#entries.values(), ...[...this.#others.values()].map(entryOfOther)];
    return {
      ...nothing,
      isComplete: true,
      set,
      withheld: [...this.#withheld],
      withheldNetworks: this.#withheldNetworks,
    };
  }

  isWithheld(address: Ip): boolean {
    return this.#withheld.has(address);
  }

  /** Takes effect before what is told later. */
  withhold(addresses: readonly Ip[]): void {
    const lifted: Ip[] = [];
    // Most are since the end of who had them before.
    const withheld = addresses.filter((address) => !this.#withheld.delete(address));
    for (const address of addresses) this.#withheld.add(address);
    for (const oldest of this.#withheld) {
      if (this.#withheld.size <= maxWithheld) break;
      this.#withheld.delete(oldest);
      lifted.push(oldest);
    }
    if (withheld.length + lifted.length > 0) void this.#tell({ withheld, lifted }, false);
  }

  /** Of other nodes: these, and no others. Of very many only the first. */
  withholdNetworks(networks: readonly Cidr[]): Promise<void> {
    const withheldNetworks = networks.slice(0, maxNetworks);
    if (isDeepStrictEqual(withheldNetworks, this.#withheldNetworks)) return Promise.resolve();
    this.#withheldNetworks = withheldNetworks;
    return this.#tell({ withheldNetworks });
  }

  /** The addresses are somebody's who makes them work without us. */
  lift(addresses: readonly Ip[]): void {
    const lifted = addresses.filter((address) => this.#withheld.delete(address));
    if (lifted.length > 0) void this.#tell({ lifted }, false);
  }

  announce(entry: PodEntry, isAwaited = true): Promise<void> {
    this.#withdrawn.delete(entry.id);
    this.#entries.set(entry);
    const lifted = entry.addresses.filter((address) => this.#withheld.delete(address));
    return this.#tell({ set: [entry], lifted }, isAwaited);
  }

  /** Of attachments whose records may be there still, until a refresh. */
  get hasWithdrawn(): boolean {
    return this.#withdrawn.size > 0;
  }

  /** An attachment that was never announced has nothing to withdraw but what is withheld already. */
  withdraw(id: string): Promise<void> {
    const entry = this.#entries.get(id);
    this.#withdrawn.add(id);
    if (entry === undefined) return Promise.resolve();
    this.#entries.delete(id);
    // What another attachment has by now stays named.
    const withheld = entry.addresses.filter((address) => !this.#entries.isHeld(address));
    for (const address of withheld) this.#withheld.add(address);
    return this.#tell({ removed: [id], withheld });
  }

  /**
   * Takes note of what was made and ended by others: of these entries those that are new, but for withdrawn
   * ones, and of the attachments that exist at all, those that are gone.
   */
  refresh(entries: readonly PodEntry[], existing: ReadonlySet<string>): Promise<void> {
    for (const id of this.#withdrawn) if (!existing.has(id)) this.#withdrawn.delete(id);
    const set = entries.filter(({ id }) => !this.#entries.has(id) && !this.#withdrawn.has(id));
    const gone = [...this.#entries.values()].filter(({ id }) => !existing.has(id));
    if (set.length + gone.length === 0) return Promise.resolve();
    for (const { id } of gone) this.#entries.delete(id);
    for (const entry of set) this.#entries.set(entry);
    const had = new Set(set.flatMap(({ addresses }) => addresses));
    const lost = gone.flatMap(({ addresses }) => addresses).filter((ip) => !had.has(ip));
    for (const address of lost) this.#withheld.add(address);
    const lifted = [...had].filter((address) => this.#withheld.delete(address));
    return this.#tell({ set, removed: gone.map(({ id }) => id), withheld: lost, lifted });
  }

  /** All that is known of other nodes' attachments. Which of their addresses work is those nodes' affair. */
  knowOthers(others: ReadonlyMap<string, Attachment>): Promise<void> {
    const before = this.#others;
    if (others === before) return Promise.resolve();
    this.#others = others;
    const removed = [...before.keys()].filter((id) => !others.has(id));
    // A source keeps what has not changed.
    const changed = [...others.values()].filter((other) => before.get(other.id) !== other);
    if (changed.length + removed.length === 0) return Promise.resolve();
    return this.#tell({ set: changed.map(entryOfOther), removed });
  }

  #tell(update: Partial<PodsUpdate>, isAwaited = true): Promise<void> {
    return this.#follower?.({ ...nothing, ...update }, isAwaited) ?? Promise.resolve();
  }
}

function entryOfOther(other: Attachment): PodEntry {
  const { nodeName: _, ...entry } = other;
  return entry;
}
