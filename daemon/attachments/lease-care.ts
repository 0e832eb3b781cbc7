// What the daemon does for the leases while nobody asks: proof that nothing is left of the addresses
// whose rest is over, an end to leases that the runtime has forgotten, and new files for those that running
// pods have lost.
import type { AttachHandlers } from "../../attach/handlers.ts";
import type { Clock } from "../../core/clock.ts";
import { toError } from "../../core/error.ts";
import type { Log } from "../../core/log.ts";
import type { SweepStatus } from "../../core/status.ts";
import type { Ipam } from "../../ipam/ipam.ts";
import { momentOf } from "../../ipam/lease-memory.ts";
import { systemBootClock } from "../../kernel/boot-clock.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { liveNetworkNamespaces, namespacesUnseen } from "../../kernel/live-namespaces.ts";

const proveEveryMs = 5_000;
// One dump of everything answers for any number of addresses. Beyond so many entries it would hold up
// requests for more than 20 ms, and a few addresses are looked for one by one.
const mostEntries = 20_000;
const mostProofs = 4096;
const fewProofs = 4;
const sweepEveryMs = 60_000;

export interface LeaseCareOptions {
  readonly ipam: Ipam;
  readonly handlers: Pick<AttachHandlers, "forgotten" | "restoreLeases">;
  readonly kernel: Kernel;
  readonly log: Log;
  readonly clock: Clock;
  /** From now until leases are first looked at, and how long a sandbox must have been gone. */
  readonly graceMs: number;
}

export interface LeaseCare extends AsyncDisposable {
  status(): SweepStatus;
}

/** The newest that status has. */
const mostReported = 64;

/** Runs until disposed; each task by itself, one round at a time. */
export function careForLeases(options: LeaseCareOptions): LeaseCare {
  const { ipam, handlers, kernel, log, clock, graceMs } = options;
  const stop = new AbortController();
  const { signal } = stop;
  const startedAtMs = clock.monotonicMs();
  const now = () => momentOf({ clock, boot: systemBootClock });
  let isBlind = false;
  const liveNamespaces = async (stopped: AbortSignal) => {
    const live = await liveNetworkNamespaces(stopped);
    isBlind ||= live === undefined;
    return live;
  };
  const sweep = handlers.forgotten({ now, liveNamespaces, graceMs });
  let swept: SweepStatus = { freed: [] };
  const repeat = (everyMs: number, what: string, task: () => Promise<unknown>): AsyncDisposable => {
    let round: Promise<unknown> | undefined;
    const attempt = async (): Promise<void> => {
      try {
        await task();
      } catch (error) {
        if (!signal.aborted) log.error({ err: toError(error) }, what);
      } finally {
        round = undefined;
      }
    };
    const timer = setInterval(() => void (round ??= attempt()), everyMs);
    return {
      [Symbol.asyncDispose]: async () => {
        clearInterval(timer);
        stop.abort();
        await round;
      },
    };
  };
  const stack = new AsyncDisposableStack();
  stack.use(
    repeat(proveEveryMs, "cannot end the quarantine of addresses", async () => {
      const entries = Number(kernel.readSysctl("net.netfilter.nf_conntrack_count") ?? 0);
      await ipam.proveRested(entries > mostEntries ? fewProofs : mostProofs, signal);
    }),
  );
  stack.use(
    repeat(Math.min(sweepEveryMs, Math.max(graceMs, 1000)), "cannot sweep leases", async () => {
      if (clock.monotonicMs() - startedAtMs < graceMs) return;
      isBlind = false;
      const freed = await sweep.run(signal, { isDryRun: false });
      const lastAt = new Date(clock.nowMs()).toISOString();
      const dated = freed.map((one) => ({ at: lastAt, ...one }));
      const problem = isBlind ? { problem: namespacesUnseen } : {};
      swept = { lastAt, ...problem, freed: [...swept.freed, ...dated].slice(-mostReported) };
    }),
  );
  stack.use(repeat(sweepEveryMs, "cannot restore leases", () => handlers.restoreLeases(signal)));
  return {
    status: () => swept,
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}
