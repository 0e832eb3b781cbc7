// How often the node is looked at.
import type { LoopTiming } from "./loop.ts";

export interface ReconcileTiming extends LoopTiming {
  /** Everything is compared this often; at a resync in between only what does not notify. */
  readonly fullMs: number;
  /** The most that this may take of a processor, however large the cluster: then it is done less often. */
  readonly fullShare: number;
}

export const usualTiming: ReconcileTiming = {
  pauseMs: 10,
  resyncMs: 1000,
  fullMs: 30_000,
  fullShare: 1 / 2000,
  backoffMs: 100,
  backoffMaxMs: 5000,
};
