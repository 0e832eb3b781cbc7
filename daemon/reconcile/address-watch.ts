// How full this node's pools are, looked at now and then: for status and metrics, and with a warning
// before a pool has no address left. Adopted leases are freed here when their pods have ended.
import { describeError, toError } from "../../core/error.ts";
import { type FullnessLevel, fullnessLevel } from "../../core/fullness.ts";
import type { Log } from "../../core/log.ts";
import type { NodeFacts } from "../../core/node-facts.ts";
import { defaultPool, type NodePool, nodePools } from "../../core/pool.ts";
import type { PoolStatus, StatusProblem } from "../../core/status.ts";
import { offerOfPool } from "../../ipam/assign.ts";
import type { Ipam } from "../../ipam/ipam.ts";
import { canonicalSets, reservedCount } from "../../ipam/range.ts";
import type { Source } from "../source/source.ts";

export interface AddressWatchOptions {
  readonly ipam: Ipam;
  /** Undefined while nothing is known of the node. */
  readonly facts: () => NodeFacts | undefined;
  readonly log: Log;
  /** Where the node's blocks come from: in files `fairlead ipam assign` writes them. */
  readonly source: Pick<Source, "kind">;
  readonly everyMs?: number;
}

const usualEveryMs = 1000;

export class AddressWatch implements AsyncDisposable {
  readonly #options: AddressWatchOptions;
  readonly #stop = new AbortController();
  readonly #timer: NodeJS.Timeout;
  readonly #levels = new Map<string, FullnessLevel>();
  #pools: readonly PoolStatus[] = [];
  #failure: string | undefined;
  #look: Promise<void> | undefined;

  constructor(options: AddressWatchOptions) {
    this.#options = options;
    this.#timer = setInterval(() => void this.look(), options.everyMs ?? usualEveryMs);
    void this.look();
  }

  /** As of the last look. */
  get pools(): readonly PoolStatus[] {
    return this.#pools;
  }

  get problems(): readonly StatusProblem[] {
    const nodeName = this.#options.facts()?.nodeName ?? "";
    const full = this.#pools.flatMap((pool) =>
      (this.#levels.get(keyOf(pool)) ?? 0) > 0 ? [this.#describe(pool, nodeName)] : [],
    );
    const messages = this.#failure === undefined ? full : [...full, this.#failure];
    return messages.map((message) => ({ area: "ipam", message }));
  }

  /** One look at a time: the lock may have to be waited for. */
  look(): Promise<void> {
    this.#look ??= this.#lookNow().finally(() => {
      this.#look = undefined;
    });
    return this.#look;
  }

  async #lookNow(): Promise<void> {
    const { facts, log } = this.#options;
    const known = facts();
    if (known === undefined) return;
    try {
      const freed = await this.#options.ipam.freeAdopted(known.network, this.#stop.signal);
      if (freed.length > 0)
        log.info({ leases: freed }, "freed adopted leases whose pods have ended");
      const present = nodePools(known.podCidrs, known.pools ?? []).filter(
        ({ podCidrs }) => podCidrs.length > 0,
      );
      const pools: PoolStatus[] = [];
      for (const pool of present) pools.push(...(await this.#statusOf(pool, known)));
      this.#pools = pools;
      this.#failure = undefined;
      this.#settleLevels(known.nodeName);
    } catch (error) {
      if (this.#stop.signal.aborted) return;
      const failure = `Cannot count the addresses of network "${known.network}": ${describeError(error)}`;
      if (failure !== this.#failure)
        log.error({ err: toError(error) }, "cannot count the addresses");
      this.#failure = failure;
    }
  }

  async #statusOf(pool: NodePool, facts: NodeFacts): Promise<readonly PoolStatus[]> {
    const offer = offerOfPool(pool, facts);
    const usage = await this.#options.ipam.usage(facts.network, offer, this.#stop.signal);
    // A set for each family.
    return canonicalSets(offer).flatMap((set, i): readonly PoolStatus[] => {
      const [first] = set;
      const used = usage[i];
      if (first === undefined || used === undefined) return [];
      return [
        {
          pool: pool.name,
          family: first.family,
          podCidrs: set.map(({ subnet }) => subnet),
          size: Number(used.size),
          held: used.held,
          quarantined: used.resting,
          reserved: Number(reservedCount(set)),
        },
      ];
    });
  }

  #settleLevels(nodeName: string): void {
    const { log } = this.#options;
    const before = new Map(this.#levels);
    this.#levels.clear();
    for (const pool of this.#pools) {
      const key = keyOf(pool);
      const [was, level] = [
        before.get(key) ?? 0,
        fullnessLevel(before.get(key) ?? 0, pool.held, pool.size),
      ];
      this.#levels.set(key, level);
      const { pool: name, family, held, size } = pool;
      const fields = { pool: name, family, held, size };
      if (level > was) log.warn(fields, this.#describe(pool, nodeName));
      else if (level < was) log.info(fields, "a pool has addresses left again");
    }
  }

  #describe(pool: PoolStatus, nodeName: string): string {
    const full = describeFullness(pool);
    return this.#options.source.kind === "file"
      ? `${full}; ${describeRemedy(pool, nodeName)}`
      : full;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    this.#stop.abort();
    await this.#look;
  }
}

const keyOf = ({ pool, family }: PoolStatus): string => `${pool} ${family}`;

function describeFullness({ pool, family, held, size, quarantined }: PoolStatus): string {
  const state = held >= size ? "has no IPv" : `is ${Math.floor((held * 100) / size)} % full of IPv`;
  const left = held >= size ? `${family} address left` : String(family);
  return `Pool "${pool}" ${state}${left}: ${held} of ${size} are held, ${quarantined} in quarantine`;
}

function describeRemedy({ pool }: PoolStatus, nodeName: string): string {
  const option = pool === defaultPool ? "" : ` --pool ${pool}`;
  return `"fairlead ipam assign --node ${nodeName} --count 1${option}" gives this node a further block`;
}
