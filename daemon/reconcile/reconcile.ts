// One node's kernel kept as the cluster and the configuration want it: snapshot → plan → observe →
// diff → apply, woken by the source, by the kernel and by time.
import type { Clock } from "../../core/clock.ts";
import type { Snapshot } from "../../core/cluster/model.ts";
import { isNodeRoute } from "../../core/desired/node-state.ts";
import type { NodePlan, PlanSettings } from "../../core/desired/plan.ts";
import { describeError } from "../../core/error.ts";
import type { Log } from "../../core/log.ts";
import { isPodHostInterface, vxlanDevice } from "../../core/names.ts";
import type { ObjectChange } from "../../core/network-change.ts";
import { routeKind } from "../../core/object-kind.ts";
import { RemovalGuard } from "../../core/removal-guard.ts";
import type { RepairKind, RepairLedger } from "../../core/repair-ledger.ts";
import type { StatusProblem } from "../../core/status.ts";
import { Target } from "../../core/target.ts";
import type { KernelEvent, KernelWatch, WatchApart } from "../../kernel/kernel.ts";
import type { Source } from "../source/source.ts";
import {
  type ApplyContext,
  applyChanges,
  appliedKind,
  type ApplyResult,
  applySettings,
  compareAll,
  findWarnings,
  fitDevice,
  named,
  describeApplied,
  writtenAtOnce,
} from "./apply.ts";
import { type LoopOutcome, type LoopReason, type LoopTiming, ReconcileLoop } from "./loop.ts";
import { countPeers, observeUnderlay } from "./observe.ts";
import { Planner, type PlannerOptions } from "./planner.ts";

export interface ReconcileCounters {
  passes: number;
  failures: number;
  /** Objects put back after somebody else changed them. */
  readonly repairs: Record<RepairKind, number>;
  /** Wall clock, milliseconds since 1970; undefined before the first pass. */
  lastAtMs: number | undefined;
  lastMs: number;
  /** Of everything; the other passes looked at single objects. */
  comparisons: number;
  /** How often notifications were lost, after which everything was compared. */
  losses: number;
}

/** Where the node stands after a pass. */
export interface NodeState {
  readonly snapshot: Snapshot;
  readonly plan: NodePlan;
  /** The whole plan is in the kernel. */
  readonly isProgrammed: boolean;
  readonly problems: readonly StatusProblem[];
}

export interface ReconcilerOptions extends ApplyContext, PlannerOptions {
  readonly source: Source;
  /** How long the removal of most nodes together waits: core/removal-guard. */
  readonly removalGraceMs: number;
  readonly ledger: RepairLedger;
  /** Told of what happens to pods' own interfaces, and of all that happens elsewhere. */
  readonly onPods?: (event: KernelEvent) => void;
  readonly onElsewhere?: (event: KernelEvent) => void;
  /** After each pass. */
  readonly onPass: (state: NodeState) => void;
  readonly clock: Clock;
  readonly log: Log;
  readonly timing?: ReconcileTiming;
}

export interface ReconcileTiming extends LoopTiming {
  /** Everything is compared this often; at a resync in between only what does not notify. */
  readonly fullMs: number;
  /** The most that this may take of the time, however large the cluster: then it is done less often. */
  readonly fullShare: number;
}

const usualTiming: ReconcileTiming = {
  pauseMs: 10,
  resyncMs: 1000,
  fullMs: 30_000,
  fullShare: 1 / 2000,
  backoffMs: 100,
  backoffMaxMs: 5000,
};

export class Reconciler implements Disposable {
  readonly counters: ReconcileCounters;
  #options: ReconcilerOptions;
  readonly #timing: ReconcileTiming;
  readonly #resources = new DisposableStack();
  readonly #loop: ReconcileLoop;
  readonly #watch: KernelWatch;
  readonly #planner: Planner;
  readonly #target = new Target();
  /** Part of what is known to be missing is left to the next turn of the event loop. */
  #isUnfinished = false;
  /** That part is of a plan that is brought into the kernel for the first time. */
  #isBringing = false;
  /** What was last completely in the kernel: another state of it is somebody else's doing. */
  #settled: { readonly plan: NodePlan; readonly mayRemove: boolean } | undefined;
  #state: NodeState | undefined;
  #warnings: readonly string[] = [];
  readonly #guard: RemovalGuard;
  /** What the guard holds back, as a sentence. */
  #held: string | undefined;
  /** Links or addresses may be others than at the last look. */
  #mustLook = true;
  /** The VXLAN device or its addresses may be others than at the last look. */
  #mustFit = false;
  /** More may be wrong than the target knows. */
  #mustCompare = true;
  /** Settings or the nftables table may be others than at the last look. */
  #mustSet = false;
  #compareAtMs = -Infinity;
  /** Monotonic: the first notification since the last pass. */
  #noticedAtMs: number | undefined;

  constructor(options: ReconcilerOptions) {
    this.#options = options;
    this.#timing = options.timing ?? usualTiming;
    this.counters = {
      passes: 0,
      failures: 0,
      comparisons: 0,
      losses: 0,
      repairs: options.ledger.counts,
      lastAtMs: undefined,
      lastMs: 0,
    };
    this.#planner = new Planner(options);
    this.#guard = new RemovalGuard(options.removalGraceMs);
    const { source, kernel, clock } = options;
    const pass = (reason: LoopReason): LoopOutcome => this.#pass(reason);
    this.#loop = this.#resources.use(new ReconcileLoop(pass, clock, this.#timing));
    this.#resources.use(source.subscribe(() => this.#loop.request("news")));
    // Pods come and go with their own interfaces, which are no part of the plan.
    const apart: WatchApart = {
      includes: isPodHostInterface,
      onChange: (event) => options.onPods?.(event),
    };
    const watch = { apart, isOwnLeftOut: true };
    this.#watch = this.#resources.use(kernel.watch((event) => this.#notice(event), watch));
    this.#loop.request("news");
  }

  /** Undefined before the source's first list. */
  state(): NodeState | undefined {
    return this.#state;
  }

  /** Plans with these settings from now on, of which only masquerading is another. */
  use(settings: PlanSettings): void {
    this.#options = { ...this.#options, settings };
    this.#planner.use(settings);
    this.#loop.request("news");
  }

  [Symbol.dispose](): void {
    this.#resources.dispose();
  }

  /** Our own changes come back here too, and are as wanted. */
  #notice(event: KernelEvent): void {
    const { objects, changes, devices, lossy, overflow } = event;
    const target = this.#target;
    this.#options.onElsewhere?.(event);
    if (overflow) this.counters.losses++;
    const underlay = target.plan?.local?.underlay.device;
    this.#mustLook ||= overflow || devices.size > 0;
    this.#mustSet ||= objects.has("nftables") || objects.has("sysctl");
    this.#mustCompare ||=
      overflow ||
      changes === "many" ||
      [...lossy].some((device) => device === vxlanDevice || device === underlay);
    this.#mustFit ||= devices.has(vxlanDevice);
    if (changes !== "many" && !this.#mustCompare) {
      for (const change of changes) if (isOwn(change, target)) target.notice(change);
    }
    const isNews =
      this.#mustCompare || this.#mustLook || this.#mustFit || this.#mustSet || target.isDifferent;
    if (!isNews) return;
    this.#noticedAtMs ??= this.#options.clock.monotonicMs();
    this.#loop.request("event");
  }

  #pass(reason: LoopReason): LoopOutcome {
    const { source, clock, log } = this.#options;
    const { snapshot } = source.state();
    if (snapshot.revision === 0) return "done";
    const { counters } = this;
    const startedAtMs = clock.monotonicMs();

    try {
      const outcome = this.#bring(snapshot, reason);
      // What is written for thousands of nodes comes back, and is not to be read in between.
      if (outcome === "unfinished") this.#watch.hold();
      else this.#watch.release();
      return outcome;
    } catch (error) {
      counters.failures++;
      this.#mustCompare = true;
      this.#watch.release();
      log.error({ problem: describeError(error) }, "cannot compare the plan with the kernel");
      return "failed";
    } finally {
      counters.passes++;
      this.#noticedAtMs = undefined;
      counters.lastAtMs = clock.nowMs();
      counters.lastMs = clock.monotonicMs() - startedAtMs;
    }
  }

  #bring(snapshot: Snapshot, reason: LoopReason): LoopOutcome {
    const { kernel, clock } = this.#options;
    const before = this.#settled;
    const isDue = this.#mustCompare || clock.monotonicMs() >= this.#compareAtMs;
    if (isDue || this.#mustLook) this.#planner.seeLinks(observeUnderlay(kernel));
    this.#mustLook = false;
    // Addresses of pods notify of nothing.
    if (isDue || reason === "resync") this.#planner.seePods(snapshot);
    const plan = this.#planner.plan(snapshot);
    if (plan.isPartial === true) {
      if (isDue) this.#target.aim(plan, true);
      return "unfinished";
    }
    const mayRemove = snapshot.isInSync && plan.local !== undefined && this.#mayShrink(plan);
    const isOther = before?.plan.own !== plan.own || before.mayRemove !== mayRemove;
    const isPartial =
      !mayRemove && (before?.plan !== plan || (this.#target.isDifferent && !this.#isUnfinished));
    const mustCompare = isDue || isOther || isPartial || this.#target.isUnclear;
    // Some options of a device notify of nothing.
    this.#mustFit ||= reason === "resync";
    const fitted = mustCompare ? undefined : this.#fit(mayRemove);
    const results =
      fitted === undefined
        ? [this.#compare(plan, mayRemove)]
        : this.#orAnew([...fitted, ...this.#apply(plan)], plan, mayRemove);
    const mustSet = isDue || this.#mustSet || reason === "resync";
    this.#mustSet = false;
    if (mustSet || before?.plan.local !== plan.local) {
      const isRepair = before?.plan === plan && !this.#isBringing;
      results.push(this.#report(applySettings(this.#options, plan), isRepair));
      this.#warnings = findWarnings(this.#options);
    }
    const failures = results.flatMap((result) => result.failures);
    this.#settled = failures.length > 0 ? undefined : { plan, mayRemove };
    this.#isUnfinished = failures.length === 0 && this.#target.isDifferent;
    if (failures.length > 0) {
      this.counters.failures++;
      this.#mustCompare = true;
      this.#options.log.error({ failures }, "cannot bring the plan into the kernel");
    }
    if (this.#isUnfinished) return "unfinished";
    const held = this.#held === undefined ? [] : [this.#held];
    this.#state = stateOf(snapshot, plan, { held, failures, warnings: this.#warnings });
    this.#options.onPass(this.#state);
    return failures.length === 0 ? "done" : "failed";
  }

  /** False while most peers have gone together, and nobody knows yet whether they really have. */
  #mayShrink(plan: NodePlan): boolean {
    const { clock, kernel, log, removalGraceMs } = this.#options;
    const nowMs = clock.monotonicMs();
    const mayRemove = this.#guard.mayRemove(plan.peers.size, nowMs, () => countPeers(kernel));
    const { held } = this.#guard;
    if (held === undefined) {
      if (this.#held !== undefined)
        log.warn({ peers: plan.peers.size }, "nodes may be removed again");
      this.#held = undefined;
    } else if (this.#held === undefined) {
      const until = new Date(clock.nowMs() + held.untilMs - nowMs).toISOString();
      this.#held = `Of ${held.had} other nodes ${held.had - held.wants} vanished together: their routes stay until ${until}, or until half of them are back (cluster.removalGraceSeconds ${removalGraceMs / 1000})`;
      log.warn({ problem: this.#held }, "nodes are not removed yet");
    }
    return mayRemove;
  }

  /** What was noticed, then what is new in the plan: a cluster's size does not matter. */
  #apply(plan: NodePlan): ApplyResult[] {
    const repairs = this.#target.takeFindings(writtenAtOnce);
    const areRepairs = !this.#isBringing;
    const hasMore = this.#target.isDifferent;
    if (!hasMore) this.#target.aim(plan);
    const updates = hasMore ? [] : this.#target.takeFindings(writtenAtOnce);
    this.#isBringing = this.#target.isDifferent && (!areRepairs || !hasMore);
    return [
      this.#report(applyChanges(this.#options, repairs), areRepairs),
      this.#report(applyChanges(this.#options, updates), false),
    ];
  }

  /**
   * What was on a device is told to be gone before the device is: what could not be put back for want of it
   * comes back with it.
   */
  #orAnew(results: ApplyResult[], plan: NodePlan, mayRemove: boolean): ApplyResult[] {
    const isGone =
      results.some(({ failures }) => failures.length > 0) &&
      plan.own.vxlan !== undefined &&
      this.#options.kernel.link(vxlanDevice) === undefined;
    return isGone ? [this.#compare(plan, mayRemove)] : results;
  }

  /** The device and its addresses alone; undefined where that is not enough. */
  #fit(mayRemove: boolean): ApplyResult[] | undefined {
    if (!this.#mustFit) return [];
    this.#mustFit = false;
    const result = fitDevice(this.#options, this.#target, { mayRemove });
    return result && [this.#report(result, true)];
  }

  #compare(plan: NodePlan, mayRemove: boolean): ApplyResult {
    const { clock } = this.#options;
    const startedAtMs = clock.monotonicMs();
    this.#mustCompare = false;
    this.#mustFit = false;
    this.#target.aim(plan, true);
    const result = compareAll(this.#options, this.#target, { mayRemove });
    const endedAtMs = clock.monotonicMs();
    const { fullMs, fullShare } = this.#timing;
    const pauseMs = Math.max(fullMs, (endedAtMs - startedAtMs) / fullShare);
    this.#compareAtMs = endedAtMs + pauseMs;
    this.counters.comparisons++;
    const before = this.#settled;
    const isRepair = before?.plan === plan && before.mayRemove === mayRemove && !this.#isUnfinished;
    return this.#report(result, isRepair);
  }

  #report(result: ApplyResult, isRepair: boolean): ApplyResult {
    const { log, clock, ledger } = this.#options;
    const { applied } = result;
    if (applied.length === 0) return result;
    const count = applied.length;
    const first = applied.slice(0, named).map((one) => ({
      kind: appliedKind(one),
      ...describeApplied(one),
    }));
    if (!isRepair) {
      log.info(
        { count, changes: first.map(({ done }) => done) },
        "brought the plan into the kernel",
      );
      return result;
    }
    for (const one of applied) this.counters.repairs[appliedKind(one)]++;
    log.warn({ count, repairs: first }, "put back what was changed behind our back");
    const at = new Date(clock.nowMs()).toISOString();
    const noticed = this.#noticedAtMs;
    const after = noticed === undefined ? {} : { afterMs: clock.monotonicMs() - noticed };
    ledger.add(first.map((one) => ({ at, ...one, ...after })));
    return result;
  }
}

interface Findings {
  readonly held: readonly string[];
  readonly failures: readonly string[];
  readonly warnings: readonly string[];
}

function stateOf(
  snapshot: Snapshot,
  plan: NodePlan,
  { held, failures, warnings }: Findings,
): NodeState {
  const isProgrammed = failures.length === 0 && plan.local !== undefined;
  const inArea = (
    area: StatusProblem["area"],
    messages: readonly string[],
  ): readonly StatusProblem[] => messages.map((message) => ({ area, message }));
  const kernelProblems = inArea("kernel", [...failures, ...warnings]);
  const problems = [...plan.problems, ...inArea("cluster", held), ...kernelProblems];
  return { snapshot, plan, isProgrammed, problems };
}

/** Not changes of the plan or of the pods, but what somebody else has done to the node's own objects. */
const isOwn = (change: ObjectChange, target: Target): boolean =>
  change.kind === "route" || change.kind === "route-gone"
    ? isNodeRoute(change.item) || target.routes.has(routeKind.keyOf(change.item))
    : change.item.device === vxlanDevice;
