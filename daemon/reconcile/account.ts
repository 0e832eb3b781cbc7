// Account of what was done to the kernel: repairs counted, and told of in log and status.
import type { Clock } from "../../core/clock.ts";
import type { Log } from "../../core/log.ts";
import type { RepairLedger } from "../../core/repair-ledger.ts";
import type { KernelEvent } from "../../kernel/kernel.ts";
import { appliedKind, type ApplyResult, named, removalsIn, repairOf } from "./apply.ts";

export interface AccountOptions {
  readonly ledger: RepairLedger;
  readonly clock: Clock;
  readonly log: Log;
  /** Told of all that happens elsewhere than at pods' own interfaces. */
  readonly onElsewhere?: (event: KernelEvent) => void;
}

export class Account {
  readonly #options: AccountOptions;
  /** Monotonic: the first notification since the last pass. */
  #noticedAtMs: number | undefined;

  constructor(options: AccountOptions) {
    this.#options = options;
  }

  /** The kernel has told of a change. */
  noticed(): void {
    this.#noticedAtMs ??= this.#options.clock.monotonicMs();
  }

  /** A pass has ended. */
  passed(): void {
    this.#noticedAtMs = undefined;
  }

  /** @param isRepair it was in the kernel before, or a notification told of it. */
  report(result: ApplyResult, isRepair: boolean): ApplyResult {
    const { log, clock, ledger, onElsewhere } = this.#options;
    const { applied } = result;
    if (applied.length === 0) return result;
    onElsewhere?.(removalsIn(applied));
    const count = applied.length;
    const first = applied.slice(0, named).map(repairOf);
    if (!isRepair) {
      log.info(
        { count, changes: first.map(({ done }) => done) },
        "brought the plan into the kernel",
      );
      return result;
    }
    for (const one of applied) ledger.counts[appliedKind(one)]++;
    log.warn({ count, repairs: first }, "put back what was changed behind our back");
    const at = new Date(clock.nowMs()).toISOString();
    const noticed = this.#noticedAtMs;
    const after = noticed === undefined ? {} : { afterMs: clock.monotonicMs() - noticed };
    ledger.add(first.map((one) => ({ at, ...one, ...after })));
    return result;
  }
}
