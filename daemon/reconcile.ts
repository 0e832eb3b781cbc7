// One node's kernel kept as the cluster and the configuration want it: snapshot → plan → observe →
// diff → apply, woken by the source, by the kernel and by time.
import { isDeepStrictEqual } from "node:util";
import type { Ip } from "../core/address.ts";
import { type Membership, settleMembership } from "../core/cluster/membership.ts";
import type { Snapshot } from "../core/cluster/model.ts";
import { outsideOf } from "../core/cluster/stray.ts";
import type { Clock } from "../core/clock.ts";
import { type NodePlan, planNode } from "../core/desired/plan.ts";
import type { LinkAddresses } from "../core/desired/underlay.ts";
import { describeError } from "../core/error.ts";
import type { Log } from "../core/log.ts";
import { isPodHostInterface } from "../core/names.ts";
import type { StatusProblem } from "../core/status.ts";
import { type ApplyContext, type AppliedKind, applyPlan, type ApplyResult } from "./apply.ts";
import { type LoopReason, type LoopTiming, ReconcileLoop } from "./loop.ts";
import { observeUnderlay } from "./observe.ts";
import type { Source } from "./source/source.ts";

export interface ReconcileCounters {
  passes: number;
  failures: number;
  /** Objects put back after somebody else changed them. */
  readonly repairs: Record<AppliedKind, number>;
  /** Wall clock, milliseconds since 1970; undefined before the first pass. */
  lastAtMs: number | undefined;
  lastMs: number;
}

/** Where the node stands after a pass. */
export interface NodeState {
  readonly snapshot: Snapshot;
  readonly plan: NodePlan;
  /** The whole plan is in the kernel. */
  readonly isProgrammed: boolean;
  readonly problems: readonly StatusProblem[];
}

export interface ReconcilerOptions extends ApplyContext {
  readonly source: Source;
  /** What to do about a node that the cluster does not have. */
  readonly missingNodeHint: (membership: Membership, links: readonly LinkAddresses[]) => string;
  /** Of the attachments to the node's network. */
  readonly podAddresses: () => readonly Ip[];
  /** After each pass. */
  readonly onPass: (state: NodeState) => void;
  readonly clock: Clock;
  readonly log: Log;
  readonly timing?: ReconcileTiming;
}

export interface ReconcileTiming extends LoopTiming {
  /** Everything is compared this often; at a resync in between only what does not notify. */
  readonly fullMs: number;
}

const usualTiming: ReconcileTiming = {
  pauseMs: 10,
  resyncMs: 1000,
  fullMs: 30_000,
  backoffMs: 100,
  backoffMaxMs: 5000,
};

interface Planned {
  readonly links: readonly LinkAddresses[];
  readonly strays: readonly Ip[];
  readonly plan: NodePlan;
}

/** More changes than this are only counted in the log. */
const loggedChanges = 16;

export class Reconciler implements Disposable {
  readonly counters: ReconcileCounters = {
    passes: 0,
    failures: 0,
    repairs: { link: 0, address: 0, neighbor: 0, fdb: 0, route: 0, nftables: 0, sysctl: 0 },
    lastAtMs: undefined,
    lastMs: 0,
  };
  readonly #options: ReconcilerOptions;
  readonly #timing: ReconcileTiming;
  readonly #resources = new DisposableStack();
  #membership: { readonly of: Snapshot; readonly value: Membership } | undefined;
  #planned: Planned | undefined;
  /** The plan that was last completely in the kernel: another state of it is somebody else's doing. */
  #settled: NodePlan | undefined;
  #state: NodeState | undefined;
  #fullAtMs = -Infinity;

  constructor(options: ReconcilerOptions) {
    this.#options = options;
    this.#timing = options.timing ?? usualTiming;
    const { source, kernel, clock } = options;
    const pass = (reason: LoopReason): boolean => this.#pass(reason);
    const loop = this.#resources.use(new ReconcileLoop(pass, clock, this.#timing));
    this.#resources.use(source.subscribe(() => loop.request("news")));
    // Pods come and go with their own interfaces, which are no part of the plan.
    this.#resources.use(kernel.watch(() => loop.request("event"), isPodHostInterface));
    loop.request("news");
  }

  /** Undefined before the source's first list. */
  state(): NodeState | undefined {
    return this.#state;
  }

  [Symbol.dispose](): void {
    this.#resources.dispose();
  }

  #pass(reason: LoopReason): boolean {
    const { source, clock, log } = this.#options;
    const { snapshot } = source.state();
    if (snapshot.revision === 0) return true;
    const { counters } = this;
    const startedAtMs = clock.monotonicMs();
    const isFull = reason !== "resync" || startedAtMs - this.#fullAtMs >= this.#timing.fullMs;
    if (isFull) this.#fullAtMs = startedAtMs;
    try {
      return this.#compare(snapshot, isFull);
    } catch (error) {
      counters.failures++;
      log.error({ problem: describeError(error) }, "cannot compare the plan with the kernel");
      return false;
    } finally {
      counters.passes++;
      counters.lastAtMs = clock.nowMs();
      counters.lastMs = clock.monotonicMs() - startedAtMs;
    }
  }

  #compare(snapshot: Snapshot, isFull: boolean): boolean {
    const links =
      isFull || this.#planned === undefined
        ? observeUnderlay(this.#options.kernel)
        : this.#planned.links;
    const plan = this.#planFor(snapshot, links);
    const result = applyPlan(this.#options, plan, { isInSync: snapshot.isInSync, isFull });
    this.#report(plan, result);
    this.#state = stateAfter(snapshot, plan, result);
    this.#options.onPass(this.#state);
    return result.failures.length === 0;
  }

  /** The same plan again, not an equal one, while nothing that it is made of has changed. */
  #planFor(snapshot: Snapshot, links: readonly LinkAddresses[]): NodePlan {
    const { settings, missingNodeHint } = this.#options;
    if (this.#membership?.of !== snapshot) {
      const value = settleMembership(
        snapshot.nodes.values(),
        settings.podCidrs,
        snapshot.pods.values(),
      );
      this.#membership = { of: snapshot, value };
      this.#planned = undefined;
    }
    const membership = this.#membership.value;
    const strays = this.#strays(membership);
    if (
      this.#planned === undefined ||
      !isDeepStrictEqual([this.#planned.links, this.#planned.strays], [links, strays])
    ) {
      const hint = membership.nodes.has(settings.nodeName)
        ? ""
        : missingNodeHint(membership, links);
      const plan = planNode({ settings, membership, links, missingNodeHint: hint, strays });
      this.#planned = { links, strays, plan };
    }
    return this.#planned.plan;
  }

  /** Of this node's pods: those whose block it no longer has. */
  #strays(membership: Membership): readonly Ip[] {
    const { settings, podAddresses } = this.#options;
    const podCidrs = membership.nodes.get(settings.nodeName)?.podCidrs ?? [];
    return outsideOf(podAddresses(), podCidrs, settings.podCidrs);
  }

  #report(plan: NodePlan, { applied, failures }: ApplyResult): void {
    const { log } = this.#options;
    const isRepair = plan === this.#settled;
    if (failures.length > 0) {
      this.counters.failures++;
      this.#settled = undefined;
      log.error({ failures }, "cannot bring the plan into the kernel");
    } else this.#settled = plan;
    if (applied.length === 0) return;
    const changes = applied.slice(0, loggedChanges).map(({ what }) => what);
    const fields = { count: applied.length, changes };
    if (isRepair) {
      for (const { kind } of applied) this.counters.repairs[kind]++;
      log.warn(fields, "put back what was changed behind our back");
    } else log.info(fields, "brought the plan into the kernel");
  }
}

function stateAfter(snapshot: Snapshot, plan: NodePlan, result: ApplyResult): NodeState {
  const { failures, warnings } = result;
  const isProgrammed = failures.length === 0 && plan.local !== undefined;
  const kernelProblems = [...failures, ...warnings].map((message): StatusProblem => ({
    area: "kernel",
    message,
  }));
  return { snapshot, plan, isProgrammed, problems: [...plan.problems, ...kernelProblems] };
}
