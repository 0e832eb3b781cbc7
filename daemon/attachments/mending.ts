// The attachments' ends at the node, put back when somebody takes or alters them: the reconciler looks
// after the node's own objects only.
import type { AttachHandlers } from "../../attach/handlers.ts";
import { cidrPrefixLength, familyOf } from "../../core/address.ts";
import type { Clock } from "../../core/clock.ts";
import { toError } from "../../core/error.ts";
import type { Applied } from "../../core/finding.ts";
import type { Log } from "../../core/log.ts";
import type { ObjectChange } from "../../core/network-change.ts";
import { mainTable } from "../../core/network.ts";
import type { RepairLedger } from "../../core/repair-ledger.ts";
import type { KernelEvent } from "../../kernel/kernel.ts";
import { appliedKind, named, repairOf } from "../reconcile/apply.ts";
import {
  type LoopOutcome,
  type LoopReason,
  type LoopTiming,
  ReconcileLoop,
} from "../reconcile/loop.ts";

export interface MendingOptions {
  readonly handlers: Pick<AttachHandlers, "mend" | "isNew">;
  readonly ledger: RepairLedger;
  readonly clock: Clock;
  readonly log: Log;
  readonly timing?: LoopTiming;
}

const isHostRoute = (change: ObjectChange): boolean =>
  (change.kind === "route" || change.kind === "route-gone") &&
  change.item.table === mainTable &&
  cidrPrefixLength(change.item.destination) ===
    (familyOf(change.item.destination) === 4 ? 32 : 128);

/** A look at all asks the kernel for every link and route. */
const usualTiming: LoopTiming = {
  pauseMs: 5,
  resyncMs: 5_000,
  backoffMs: 100,
  backoffMaxMs: 5_000,
};

/** Mends what notifications name, and looks at all now and then. */
export class Mending implements Disposable {
  readonly #options: MendingOptions;
  readonly #devices = new Set<string>();
  #loop: ReconcileLoop | undefined;
  /** More may be wrong than at the devices. */
  #isAll = true;
  #noticedAtMs: number | undefined;

  constructor(options: MendingOptions) {
    this.#options = options;
  }

  /** Looks at all, and goes on until disposed. Not before what killed requests left was swept. */
  start(): void {
    const { clock, timing = usualTiming } = this.#options;
    this.#loop ??= new ReconcileLoop((reason) => this.#pass(reason), clock, timing);
    this.#loop.request("news");
  }

  /**
   * Of what happens to attachments' host interfaces. What an ADD has just made is not looked at again, in a
   * burst of them least of all; what is gone of it is another's doing.
   */
  notice({ devices, changes, overflow }: KernelEvent): void {
    this.#isAll ||= overflow || changes === "many";
    if (!this.#isAll) {
      const { isNew } = this.#options.handlers;
      for (const device of devices) if (!isNew(device)) this.#devices.add(device);
      for (const { kind, item } of changes === "many" ? [] : changes) {
        if (kind.endsWith("-gone") || !isNew(item.device)) this.#devices.add(item.device);
      }
      if (this.#devices.size === 0) return;
    }
    this.#request();
  }

  /**
   * Of what happens elsewhere: a route may have taken the place of a pod's, or given it back. With an address
   * of the node go the routes that have it as their source, untold, and only with it they come back.
   */
  noticeElsewhere({ objects, changes, overflow }: KernelEvent): void {
    const isForPods =
      overflow || objects.has("address") || (changes !== "many" && changes.some(isHostRoute));
    if (!isForPods) return;
    this.#isAll = true;
    this.#request();
  }

  /** Something that all are made of is another. */
  lookAtAll(): void {
    this.#isAll = true;
    this.#request();
  }

  #request(): void {
    if (this.#loop === undefined) return;
    this.#noticedAtMs ??= this.#options.clock.monotonicMs();
    this.#loop.request("event");
  }

  #pass(reason: LoopReason): LoopOutcome {
    const { handlers, log } = this.#options;
    const isAll = this.#isAll || reason !== "event";
    const devices = [...this.#devices];
    const noticedAtMs = this.#noticedAtMs;
    this.#devices.clear();
    this.#isAll = false;
    this.#noticedAtMs = undefined;
    try {
      this.#record(handlers.mend(isAll ? undefined : devices), noticedAtMs);
    } catch (error) {
      log.error({ err: toError(error) }, "cannot compare the attachments with the kernel");
    }
    return "done";
  }

  #record(repairs: readonly Applied[], noticedAtMs: number | undefined): void {
    const { ledger, clock } = this.#options;
    const at = new Date(clock.nowMs()).toISOString();
    const after = noticedAtMs === undefined ? {} : { afterMs: clock.monotonicMs() - noticedAtMs };
    for (const one of repairs) ledger.counts[appliedKind(one)]++;
    ledger.add(repairs.slice(0, named).map((one) => ({ at, ...repairOf(one), ...after })));
  }

  [Symbol.dispose](): void {
    this.#loop?.[Symbol.dispose]();
  }
}
