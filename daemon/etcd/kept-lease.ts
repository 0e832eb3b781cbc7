// A lease of etcd that lives while we do: what hangs on it disappears some time after us.
import type { Clock } from "../../core/clock.ts";
import type { EtcdClient } from "./client.ts";

export interface KeptLeaseOptions {
  readonly client: Pick<EtcdClient, "grantLease" | "keepLease">;
  readonly seconds: number;
  readonly clock: Clock;
}

/** Signs of life in the time of a lease: one that is lost or late ends nothing. */
const signsPerLease = 4;

export class KeptLease {
  readonly #options: KeptLeaseOptions;
  #id: bigint | undefined;
  #dueAtMs = -Infinity;

  constructor(options: KeptLeaseOptions) {
    this.#options = options;
  }

  /** How long nothing need be done. */
  get restMs(): number {
    return Math.max(0, this.#dueAtMs - this.#options.clock.monotonicMs());
  }

  /**
   * The lease's id, after a sign of life where one is due. Another one than before: the lease has ended
   * meanwhile, and what hung on it is gone.
   */
  async keep(signal: AbortSignal): Promise<bigint> {
    const { client, seconds, clock } = this.#options;
    if (this.#id !== undefined && this.restMs > 0) return this.#id;
    const isKept = this.#id !== undefined && (await client.keepLease(this.#id, signal));
    if (!isKept) this.#id = undefined;
    this.#id ??= await client.grantLease(seconds, signal);
    this.#dueAtMs = clock.monotonicMs() + (seconds * 1000) / signsPerLease;
    return this.#id;
  }
}
