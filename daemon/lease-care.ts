// What the daemon does for the leases while nobody asks: proof that nothing is left of the addresses
// whose rest is over.
import { toError } from "../core/error.ts";
import type { Log } from "../core/log.ts";
import type { Ipam } from "../ipam/ipam.ts";
import type { Kernel } from "../kernel/kernel.ts";

const proveEveryMs = 5_000;
// One dump of everything answers for any number of addresses. Beyond so many entries it would hold up
// requests for more than 20 ms, and a few addresses are looked for one by one.
const mostEntries = 20_000;
const mostProofs = 4096;
const fewProofs = 4;

export interface LeaseCareOptions {
  readonly ipam: Ipam;
  readonly kernel: Pick<Kernel, "readSysctl">;
  readonly log: Log;
}

/** Runs until disposed; one round at a time. */
export function careForLeases({ ipam, kernel, log }: LeaseCareOptions): AsyncDisposable {
  const stop = new AbortController();
  let round: Promise<unknown> = Promise.resolve();
  let isBusy = false;
  const prove = async (): Promise<void> => {
    isBusy = true;
    try {
      const entries = Number(kernel.readSysctl("net.netfilter.nf_conntrack_count") ?? 0);
      await ipam.proveRested(entries > mostEntries ? fewProofs : mostProofs, stop.signal);
    } catch (error) {
      if (stop.signal.aborted) return;
      log.error({ err: toError(error) }, "cannot end the quarantine of addresses");
    } finally {
      isBusy = false;
    }
  };
  const timer = setInterval(() => {
    if (!isBusy) round = prove();
  }, proveEveryMs);
  return {
    [Symbol.asyncDispose]: async () => {
      clearInterval(timer);
      stop.abort();
      await round;
    },
  };
}
