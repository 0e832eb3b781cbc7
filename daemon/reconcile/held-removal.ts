// Nodes that vanish together, whose removal waits: what stands in status meanwhile.
import type { Clock } from "../../core/clock.ts";
import type { NodePlan } from "../../core/desired/plan.ts";
import { RemovalGuard } from "../../core/removal-guard.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { countPeers } from "./observe.ts";

export interface HeldRemovalOptions {
  readonly kernel: Kernel;
  readonly clock: Clock;
  /** How long the removal of most nodes together waits: core/removal-guard. */
  readonly removalGraceMs: number;
}

export class HeldRemoval {
  readonly #options: HeldRemovalOptions;
  readonly #guard: RemovalGuard;
  #problem: string | undefined;

  constructor(options: HeldRemovalOptions) {
    this.#options = options;
    this.#guard = new RemovalGuard(options.removalGraceMs);
  }

  /** What is held back, as a sentence. */
  get problems(): readonly string[] {
    return this.#problem === undefined ? [] : [this.#problem];
  }

  /** False while most peers have gone together, and nobody knows yet whether they really have. */
  mayRemove({ peers }: NodePlan): boolean {
    const { clock, kernel, removalGraceMs } = this.#options;
    const nowMs = clock.monotonicMs();
    const mayRemove = this.#guard.mayRemove(peers.size, nowMs, () => countPeers(kernel));
    const { held } = this.#guard;
    if (held === undefined) this.#problem = undefined;
    else if (this.#problem === undefined) {
      const until = new Date(clock.nowMs() + held.untilMs - nowMs).toISOString();
      this.#problem = `Of ${held.had} other nodes ${held.had - held.wants} vanished together: their routes stay until ${until}, or until half of them are back (cluster.removalGraceSeconds ${removalGraceMs / 1000})`;
    }
    return mayRemove;
  }
}
