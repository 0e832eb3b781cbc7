import { hostInterfaceName } from "../core/names.ts";
import type { Moment } from "../ipam/journal-event.ts";
import type { DetailedLease } from "../ipam/ipam.ts";
import { type StaleReason, staleReason } from "../ipam/stale.ts";
import { Absence } from "./absence.ts";
import type { AttachScope } from "./context.ts";

export interface LeaseSweepOptions {
  readonly now: () => Moment;
  /** Network namespaces that somebody has, by inode; undefined when that cannot be told. */
  readonly liveNamespaces: (signal: AbortSignal) => Promise<ReadonlySet<number> | undefined>;
  /** How old a lease must be, and how long its sandbox must have been gone. */
  readonly graceMs: number;
}

export type LeaseSweepScope = Pick<AttachScope, "ipam" | "records" | "kernel" | "log">;

/** A lease that nobody came for, and why it is free now. */
export interface FreedLease extends DetailedLease {
  readonly network: string;
  readonly why: StaleReason;
}

interface Suspect {
  readonly network: string;
  readonly lease: DetailedLease;
}

interface Stale extends Suspect {
  readonly why: StaleReason;
}

/** In one sweep: the rest waits for the next. */
const mostFreed = 1000;

/**
 * Frees leases that the runtime has forgotten: those of an earlier boot, and those whose sandbox is gone,
 * of every network whose leases have details. Never one that an attachment record speaks for (the sweep
 * of attachments frees that), that lacks details, or whose pod's interface is still there. A sandbox is
 * gone when two sweeps, at least the grace apart, found nobody who has its namespace.
 */
export class LeaseSweep {
  readonly #scope: LeaseSweepScope;
  readonly #options: LeaseSweepOptions;
  readonly #absence: Absence;

  constructor(scope: LeaseSweepScope, options: LeaseSweepOptions) {
    this.#scope = scope;
    this.#options = options;
    this.#absence = new Absence(options.graceMs);
  }

  async run(
    signal: AbortSignal,
    { isDryRun }: { readonly isDryRun: boolean } = { isDryRun: false },
  ): Promise<readonly FreedLease[]> {
    const { ipam, records, log } = this.#scope;
    const suspects: Suspect[] = [];
    for (const network of await ipam.networks()) {
      const { leases } = await ipam.inventory(network, signal);
      for (const lease of leases) if (lease.details) suspects.push({ network, lease });
    }
    // After the leases: of those that have none yet the ADD is at work, and they are younger than the grace.
    const recorded = new Set(records.list().records.map(({ key }) => keyOf(key.network, key)));
    const unrecorded = suspects.filter(
      ({ network, lease }) => !recorded.has(keyOf(network, lease)),
    );
    const freed: FreedLease[] = [];
    const gone = await this.#stale(unrecorded, signal);
    for (const { network, lease, why } of gone.slice(0, mostFreed)) {
      if (isDryRun) {
        freed.push({ ...lease, network, why });
        continue;
      }
      for (const one of await ipam.free(network, [lease], why, signal)) {
        freed.push({ ...one, network, why });
        const { address, containerId, ifName, details } = one;
        const pod = details?.pod;
        log.info({ network, address, containerId, ifName, pod, why }, "freed a lease");
      }
    }
    return freed;
  }

  async #stale(leases: readonly Suspect[], signal: AbortSignal): Promise<readonly Stale[]> {
    const { kernel } = this.#scope;
    const { graceMs } = this.#options;
    const live = leases.length === 0 ? undefined : await this.#options.liveNamespaces(signal);
    const now = this.#options.now();
    const stale = leases.flatMap(({ network, lease }): readonly Stale[] => {
      const why = staleReason(lease, { now, live, graceMs });
      const isThere = (): boolean =>
        kernel.link(hostInterfaceName({ ...lease, network })) !== undefined;
      if (why === undefined || (why === "its sandbox is gone" && isThere())) return [];
      return [{ network, lease, why }];
    });
    const missing = stale.filter(({ why }) => why === "its sandbox is gone").map(givingOf);
    const lasting = this.#absence.lasting(missing, now.elapsedMs);
    return stale.filter((one) => one.why !== "its sandbox is gone" || lasting.has(givingOf(one)));
  }
}

const givingOf = ({ network, lease }: Suspect): string =>
  `${keyOf(network, lease)} ${lease.details?.given.elapsedMs}`;

const keyOf = (
  network: string,
  { containerId, ifName }: Pick<DetailedLease, "containerId" | "ifName">,
): string => `${network} ${containerId} ${ifName}`;
