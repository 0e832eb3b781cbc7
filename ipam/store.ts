// The lease store: host-local's directory of files, shared with whoever else keeps to its lock.
import { readdirSync } from "node:fs";
import { join } from "node:path";
import type { Ip } from "../core/address.ts";
import { CniCode, CniError } from "../core/cni/error.ts";
import type { BootClock, Clock } from "../core/clock.ts";
import { describeError, hasErrno, toError } from "../core/error.ts";
import { type Log, silentLog } from "../core/log.ts";
import type { AttachmentKey } from "../core/names.ts";
import { paths } from "../core/paths.ts";
import { type LockWait, openLock } from "../kernel/flock.ts";
import type { FileLock } from "../kernel/kernel.ts";
import { systemBootClock } from "../kernel/boot-clock.ts";
import { isStillHeld, leaseKey, readAdopted, writeAdopted } from "./adopted.ts";
import { LeaseDirectory } from "./directory.ts";
import type { DiskWrites } from "./disk-writes.ts";
import type {
  DetailedLease,
  Inventory,
  Ipam,
  Lease,
  LostLease,
  Offer,
  ReserveRequest,
  ReservedAddress,
  Restoration,
  SetUsage,
} from "./ipam.ts";
import { LeaseJournal } from "./journal.ts";
import { LeaseNotes } from "./lease-notes.ts";
import { type Later, Leftover, atOnce } from "./later.ts";
import { NetworkLeases } from "./network-leases.ts";
import { canonicalSets } from "./range.ts";
import { restoreLease } from "./restore.ts";
import { StickyAddresses } from "./sticky.ts";
import type { Tracking } from "./tracking.ts";

export interface IpamOptions {
  /** Default: host-local's, `/var/lib/cni/networks`. */
  readonly dataDir?: string;
  readonly clock: Clock;
  readonly boot?: BootClock;
  readonly log?: Log;
  readonly tracking?: Tracking;
  /** How long to wait for a network's lock. */
  readonly lockDeadlineMs?: number;
  /**
   * Takes what a request leaves to be done after its answer, while the network's lock is kept, soon and
   * before the next request; default: all is done before.
   */
  readonly putOff?: (leftover: Disposable) => void;
  /** For tests: the calls that change the disk. */
  readonly writes?: DiskWrites;
}

// Well under the launcher's whole exchange (20 s), so that the caller gets this answer.
const standardLockDeadlineMs = 5_000;
// Networks and data directories kept in memory. A node has one or a few; one that was dropped is
// read again when it is used.
const mostNetworks = 64;
const mostDataDirs = 16;

/** Touches nothing before it is used: the directory appears with the first reservation. */
export const openIpam = (options: IpamOptions): Ipam => new LeaseStore(options);

interface OpenNetwork {
  /** How many wait for the lock. */
  waiting: number;
  /** Of the request before. */
  leftover: Leftover | undefined;
  readonly directory: LeaseDirectory;
  readonly notes: LeaseNotes;
  readonly leases: NetworkLeases;
}

class LeaseStore implements Ipam {
  readonly #options: IpamOptions;
  readonly #dataDir: string;
  readonly #networks = new Map<string, OpenNetwork>();
  readonly #elsewhere = new Map<string, Ipam>();

  constructor(options: IpamOptions) {
    this.#options = options;
    this.#dataDir = options.dataDir ?? paths.leases;
  }

  at(dataDir: string | undefined): Ipam {
    if (dataDir === undefined || dataDir === this.#dataDir) return this;
    return remember(this.#elsewhere, dataDir, mostDataDirs, () =>
      openIpam({ ...this.#options, dataDir }),
    );
  }

  async reserve(request: ReserveRequest, signal: AbortSignal): Promise<readonly ReservedAddress[]> {
    const sets = canonicalSets(request);
    const network = this.#open(request.key.network);
    return this.#locked(network, signal, (later) =>
      network.leases.reserve({ ...request, sets }, later),
    );
  }

  async release(key: AttachmentKey, signal: AbortSignal, why = "DEL"): Promise<readonly Ip[]> {
    const network = this.#open(key.network);
    if (!network.directory.exists()) return [];
    return this.#locked(network, signal, (later) => network.leases.release(key, why, later));
  }

  async leases(name: string, signal = new AbortController().signal): Promise<readonly Lease[]> {
    const network = this.#open(name);
    if (!network.directory.exists()) return [];
    return this.#locked(network, signal, () => network.leases.leases());
  }

  async collect(
    name: string,
    isValid: (lease: Lease) => boolean,
    signal: AbortSignal,
    why = "GC",
  ): Promise<readonly Lease[]> {
    const network = this.#open(name);
    if (!network.directory.exists()) return [];
    return this.#locked(network, signal, () => {
      const { bootId } = this.#boot;
      const adopted = readAdopted(this.#adoptedPath).filter((lease) => isStillHeld(lease, bootId));
      const kept = new Set(adopted.map(leaseKey));
      return network.leases.collect((lease) => kept.has(leaseKey(lease)) || isValid(lease), why);
    });
  }

  async freeAdopted(name: string, signal: AbortSignal): Promise<readonly Lease[]> {
    // Nearly always there is none, and nobody is to be waited for.
    if (readAdopted(this.#adoptedPath).length === 0) return [];
    const network = this.#open(name);
    return this.#locked(network, signal, () => {
      const adopted = readAdopted(this.#adoptedPath);
      const ended = adopted.filter(
        (lease) => lease.network === name && !isStillHeld(lease, this.#boot.bootId),
      );
      if (ended.length === 0) return [];
      const keys = new Set(ended.map(leaseKey));
      const freed = network.leases.collect(
        (lease) => !keys.has(leaseKey(lease)),
        "adopted pod ended",
      );
      writeAdopted(
        this.#adoptedPath,
        adopted.filter((lease) => !ended.includes(lease)),
      );
      return freed;
    });
  }

  async inventory(name: string, signal: AbortSignal): Promise<Inventory> {
    const network = this.#open(name);
    if (!network.directory.exists()) return { leases: [], unreadable: [], resting: [] };
    return this.#locked(network, signal, () => network.leases.inventory());
  }

  async usage(name: string, offer: Offer, signal: AbortSignal): Promise<readonly SetUsage[]> {
    const sets = canonicalSets(offer);
    const network = this.#open(name);
    return this.#locked(network, signal, () => network.leases.usage(sets));
  }

  async networks(): Promise<readonly string[]> {
    try {
      return readdirSync(this.#journals).filter((name) => !name.startsWith("."));
    } catch (cause) {
      if (hasErrno(cause, "ENOENT")) return [];
      throw cause;
    }
  }

  async free(
    name: string,
    leases: readonly DetailedLease[],
    why: string,
    signal: AbortSignal,
  ): Promise<readonly DetailedLease[]> {
    const network = this.#open(name);
    return this.#locked(network, signal, () => network.leases.free(leases, why));
  }

  async restore(lost: LostLease, signal: AbortSignal): Promise<Restoration> {
    const network = this.#open(lost.key.network);
    const { directory, notes, leases } = network;
    const parts = { directory, notes, clocks: { clock: this.#options.clock, boot: this.#boot } };
    return this.#locked(network, signal, () => restoreLease(lost, leases.leases(), parts));
  }

  async proveRested(most: number, signal: AbortSignal): Promise<number> {
    let proven = 0;
    for (const network of this.#networks.values()) {
      if (proven >= most) break;
      const left = most - proven;
      proven += await this.#locked(network, signal, () => network.leases.proveRested(left));
    }
    for (const ipam of this.#elsewhere.values()) {
      if (proven < most) proven += await ipam.proveRested(most - proven, signal);
    }
    return proven;
  }

  get #boot(): BootClock {
    return this.#options.boot ?? systemBootClock;
  }

  get #adoptedPath(): string {
    const isUsual = this.#dataDir === paths.leases;
    return isUsual ? paths.adoptedLeases : join(this.#dataDir, ".fairlead/adopted.json");
  }

  // Beside leases that lie elsewhere, so that they end together (a tmpfs), and their networks may have
  // the names of others. No network's name begins with a dot.
  get #journals(): string {
    const isUsual = this.#dataDir === paths.leases;
    return isUsual ? paths.leaseJournals : join(this.#dataDir, ".fairlead/leases");
  }

  get #stickies(): string {
    const isUsual = this.#dataDir === paths.leases;
    return isUsual ? paths.stickyAddresses : join(this.#dataDir, ".fairlead/sticky");
  }

  #open(name: string): OpenNetwork {
    if (name === "" || name === "." || name === ".." || name.includes("/")) {
      throw new CniError(
        CniCode.invalidConfig,
        `Cannot keep leases for network "${name}": expected a name without "/"`,
      );
    }
    return remember(this.#networks, name, mostNetworks, () => {
      const { clock, log = silentLog, writes } = this.#options;
      const boot = this.#boot;
      const directory = new LeaseDirectory(join(this.#dataDir, name), clock, writes);
      const journal = new LeaseJournal(join(this.#journals, name), writes);
      const clocks = { clock, boot };
      const { tracking } = this.#options;
      const sticky = new StickyAddresses(new LeaseJournal(join(this.#stickies, name), writes), log);
      const notes = new LeaseNotes({ network: name, journal, log });
      const parts = { network: name, directory, notes, sticky, clocks, log };
      const options = tracking === undefined ? parts : { ...parts, tracking };
      const leases = new NetworkLeases(options);
      return { waiting: 0, leftover: undefined, directory, notes, leases };
    });
  }

  async #take(network: OpenNetwork, wait: LockWait): Promise<FileLock> {
    this.#finish(network);
    network.waiting++;
    try {
      return await openLeaseLock(network.directory, wait);
    } finally {
      network.waiting--;
    }
  }

  #finish({ leftover, directory: { path } }: OpenNetwork): void {
    try {
      leftover?.[Symbol.dispose]();
    } catch (thrown) {
      const { log = silentLog } = this.#options;
      log.error({ path, err: toError(thrown) }, "cannot finish a request for leases");
    }
  }

  async #locked<T>(
    network: OpenNetwork,
    signal: AbortSignal,
    work: (later: Later) => T,
  ): Promise<T> {
    const { directory } = network;
    const { clock, putOff, lockDeadlineMs: deadlineMs = standardLockDeadlineMs } = this.#options;
    try {
      using held = new DisposableStack();
      held.use(await this.#take(network, { deadlineMs, clock, signal }));
      if (putOff === undefined) return work(atOnce);
      const rest: (() => void)[] = [];
      const answer = work((left) => void rest.push(left));
      if (rest.length === 0) return answer;
      const leftover = new Leftover(rest, held.move(), () => {
        network.leftover = undefined;
      });
      network.leftover = leftover;
      if (network.waiting > 0) leftover[Symbol.dispose]();
      else putOff(leftover);
      return answer;
    } catch (cause) {
      if (cause instanceof CniError || signal.aborted) throw cause;
      if (hasErrno(cause, "ETIMEDOUT")) {
        throw new CniError(
          CniCode.tryAgainLater,
          `Cannot lock "${directory.lockPath}" within ${deadlineMs} ms: another process holds it`,
          { cause },
        );
      }
      throw new CniError(CniCode.ioFailure, `Cannot keep the leases in "${directory.path}"`, {
        cause,
        details: describeError(cause),
      });
    }
  }
}

async function openLeaseLock(directory: LeaseDirectory, wait: LockWait): Promise<FileLock> {
  directory.ensure();
  try {
    return await openLock(directory.lockPath, "exclusive", wait);
  } catch (cause) {
    if (!hasErrno(cause, "ENOENT")) throw cause;
    // Somebody has removed it since it was made or seen.
    directory.forgetEnsured();
    directory.ensure();
    return openLock(directory.lockPath, "exclusive", wait);
  }
}

// What the map has, else made and added; the oldest entry goes when there are too many.
function remember<T>(map: Map<string, T>, key: string, most: number, make: () => T): T {
  const known = map.get(key);
  if (known !== undefined) return known;
  const [oldest] = map.keys();
  if (map.size >= most && oldest !== undefined) map.delete(oldest);
  const made = make();
  map.set(key, made);
  return made;
}
