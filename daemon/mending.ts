// The attachments' ends at the node, put back when somebody takes them: the reconciler looks after the
// node's own objects only.
import type { AttachHandlers } from "../attach/handlers.ts";
import type { Clock } from "../core/clock.ts";
import { toError } from "../core/error.ts";
import { formatChange } from "../core/format-change.ts";
import type { Log } from "../core/log.ts";
import type { RepairLedger } from "../core/repair-ledger.ts";
import { changeKind, named } from "./apply.ts";
import type { Reconciler } from "./reconcile.ts";

/** Between two looks: each reads every record. */
const mendEveryMs = 5_000;

interface Mending {
  readonly reconciler: Reconciler;
  readonly ledger: RepairLedger;
  readonly clock: Clock;
  readonly log: Log;
}

/** Looks now, and every five seconds until disposed. */
export function mendNowAndThen(
  handlers: AttachHandlers,
  { reconciler, ledger, clock, log }: Mending,
): Disposable {
  const { repairs } = reconciler.counters;
  const mend = (): void => {
    try {
      const changes = handlers.mend().filter(({ kind }) => kind === "add-route");
      repairs.route += changes.length;
      const at = new Date(clock.nowMs()).toISOString();
      ledger.add(
        changes.slice(0, named).map((change) => ({
          at,
          kind: changeKind(change),
          found: "nothing",
          done: formatChange(change),
        })),
      );
    } catch (error) {
      log.error({ err: toError(error) }, "cannot compare the attachments with the kernel");
    }
  };
  mend();
  const timer = setInterval(mend, mendEveryMs);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}
