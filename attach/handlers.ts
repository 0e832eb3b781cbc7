import type { CniHandlers } from "../core/cni/types.ts";
import type { Applied } from "../core/finding.ts";
import { hostInterfaceName } from "../core/names.ts";
import { add } from "./add.ts";
import { check } from "./check.ts";
import type { AttachContext } from "./context.ts";
import { del } from "./del.ts";
import { ForgottenSweep } from "./forgotten-sweep.ts";
import { gc } from "./gc.ts";
import type { LeaseSweepOptions } from "./lease-sweep.ts";
import { Mender } from "./mend.ts";
import { createReaper } from "./reaper.ts";
import { LatelyMade } from "./lately-made.ts";
import { LeaseRestorer } from "./restore.ts";
import { status } from "./status.ts";
import { type SweepReport, freeUnrecorded, sweep } from "./sweep.ts";

export type { AttachContext } from "./context.ts";

export interface AttachHandlers extends CniHandlers {
  /** Resolves when every interface that a DEL took down is gone from the kernel. */
  settled(): Promise<void>;
  /** For the daemon's start, while it holds attach.lock exclusive. */
  sweep(signal: AbortSignal): Promise<SweepReport>;
  /** Writes leases again that running pods have lost, and resolves with how many; {@link sweep} does too. */
  restoreLeases(signal: AbortSignal): Promise<number>;
  /** A sweep for while requests are served; each remembers what it has missed. */
  forgotten(options: LeaseSweepOptions): ForgottenSweep;
  /**
   * Puts back what somebody else took from the attachments at the node, and says what: all of them, or
   * those that have one of these host interfaces.
   */
  mend(devices?: Iterable<string>): readonly Applied[];
  /** What of it the kernel refuses, each in one sentence; empty once it is done. */
  unmended(): readonly string[];
  /** Whether an ADD of this host interface is at work, or ended so lately that notifications are of that one. */
  isNew(device: string): boolean;
  /** For the first start after a reboot, likewise: leases of the network without a record are freed. */
  freeUnrecorded(network: string, signal: AbortSignal): Promise<number>;
}

/** The CNI verbs, each over one context. Requests of one attachment follow one another. */
export function createHandlers(context: AttachContext): AttachHandlers {
  const scope = { ...context, reaper: createReaper(context.kernel, context.log) };
  const restorer = new LeaseRestorer(scope);
  const mender = new Mender(scope);
  const made = new LatelyMade(context.clock);
  return {
    add: (request, signal) =>
      made.during(hostInterfaceName(request.key), () => add(scope, request, signal)),
    del: (request, signal) => del(scope, request, signal),
    check: (request, signal) => check(scope, request, signal),
    gc: (request, signal) => gc(scope, request, signal),
    status: (request, signal) => status(scope, request, signal),
    settled: () => scope.reaper.settled(),
    sweep: async (signal) => {
      const report = await sweep(scope, signal);
      await restorer.run(signal);
      return report;
    },
    restoreLeases: (signal) => restorer.run(signal),
    forgotten: (options) => new ForgottenSweep(scope, options),
    mend: (devices) => mender.mend(devices),
    unmended: () => mender.unmended(),
    isNew: (device) => made.has(device),
    freeUnrecorded: (network, signal) => freeUnrecorded(scope, network, signal),
  };
}
