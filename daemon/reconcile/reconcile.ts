// One node's kernel kept as the cluster and the configuration want it: snapshot → plan → observe →
// diff → apply, woken by the source, by the kernel and by time.
import type { Snapshot } from "../../core/cluster/model.ts";
import type { LocalPlan, NodePlan, PlanSettings } from "../../core/desired/plan.ts";
import { describeError } from "../../core/error.ts";
import type { Finding } from "../../core/finding.ts";
import { isPodHostInterface, vxlanDevice } from "../../core/names.ts";
import type { RepairKind } from "../../core/repair-ledger.ts";
import { Target } from "../../core/target.ts";
import type { KernelEvent, KernelWatch, WatchApart } from "../../kernel/kernel.ts";
import { processorMs } from "../../kernel/processor-time.ts";
import type { Source } from "../source/source.ts";
import { Account, type AccountOptions } from "./account.ts";
import {
  type ApplyContext,
  applyChanges,
  applyOffLoop,
  type ApplyResult,
  applySettings,
  applyTable,
  compareAll,
  findWarnings,
  fitDevice,
  isBare,
  writtenAtOnce,
} from "./apply.ts";
import { HeldRemoval, type HeldRemovalOptions } from "./held-removal.ts";
import { type LoopOutcome, type LoopReason, ReconcileLoop } from "./loop.ts";
import { type NodeState, stateOf } from "./node-state.ts";
import { observeUnderlay } from "./observe.ts";
import { Planner, type PlannerOptions } from "./planner.ts";
import { ProblemLog } from "./problem-log.ts";
import { joinWritten, Slices } from "./slices.ts";
import { type ReconcileTiming, usualTiming } from "./timing.ts";
import { UnroutedPeers } from "./unrouted-peers.ts";

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

export interface ReconcilerOptions
  extends ApplyContext, PlannerOptions, AccountOptions, HeldRemovalOptions {
  readonly source: Source;
  /** Told of what happens to pods' own interfaces. */
  readonly onPods?: (event: KernelEvent) => void;
  /** After each pass. */
  readonly onPass: (state: NodeState) => void;
  readonly timing?: ReconcileTiming;
}

export class Reconciler implements Disposable {
  readonly counters: ReconcileCounters;
  #options: ReconcilerOptions;
  readonly #timing: ReconcileTiming;
  readonly #resources = new DisposableStack();
  readonly #loop: ReconcileLoop;
  readonly #watch: KernelWatch;
  readonly #planner: Planner;
  readonly #target = new Target();
  /** What is written while the event loop has its turns. */
  readonly #slices = new Slices((findings) => applyOffLoop(this.#options, findings));
  /** Of the pass that is under way: of network objects. */
  #results: ApplyResult[] = [];
  /** Likewise, of settings and table. */
  #localFailures: string[] = [];
  /** What it brings into the kernel: all is written, or under way. */
  #ending: Ending | undefined;
  /** The kernel had nothing before it: a plan in parts is written while it is made. */
  #isBare: boolean | undefined;
  /**
   * Of which all network objects were last in the kernel, and which settings and table: another state of them
   * is somebody else's doing, whatever has failed since, or fails beside them.
   */
  #settled: { readonly plan: NodePlan; readonly mayRemove: boolean } | undefined;
  readonly #settledLocal: { settings?: LocalPlan; table?: LocalPlan } = {};
  /** As it was at the last pass. */
  #mayRemove = false;
  #state: NodeState | undefined;
  readonly #account: Account;
  readonly #problems: ProblemLog;
  #warnings: readonly string[] = [];
  readonly #held: HeldRemoval;
  readonly #unrouted: UnroutedPeers;
  /** Links or addresses may be others than at the last look. */
  #mustLook = true;
  /** The VXLAN device or its addresses may be others than at the last look. */
  #mustFit = false;
  /** More may be wrong than the target knows. */
  #mustCompare = true;
  /** Settings, and after them the nftables table, may be others than at the last look. */
  #mustSet = false;
  #mustRule = false;
  #compareAtMs = -Infinity;

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
    this.#held = new HeldRemoval(options);
    const { source, kernel, clock, log } = options;
    this.#account = new Account(options);
    this.#problems = new ProblemLog(log);
    this.#unrouted = new UnroutedPeers(kernel, clock);
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
    this.#unrouted.notice(event);
    if (overflow) this.counters.losses++;
    const underlay = target.plan?.local?.underlay.device;
    this.#mustLook ||= overflow || devices.size > 0;
    this.#mustSet ||= objects.has("nftables") || objects.has("sysctl");
    this.#mustCompare ||=
      overflow ||
      changes === "many" ||
      [...lossy].some((device) => device === vxlanDevice || device === underlay);
    this.#mustFit ||= devices.has(vxlanDevice);
    if (changes !== "many") {
      for (const change of changes) if (target.concerns(change)) target.notice(change);
    }
    const isNews =
      this.#mustCompare || this.#mustLook || this.#mustFit || this.#mustSet || target.isDifferent;
    if (!isNews) return;
    this.#account.noticed();
    this.#loop.request(target.isDifferent ? "repair" : "event");
  }

  #pass(reason: LoopReason): LoopOutcome {
    const { source, clock, log } = this.#options;
    const { snapshot } = source.state();
    if (snapshot.revision === 0) return "done";
    const { counters } = this;
    const startedAtMs = clock.monotonicMs();

    let outcome: LoopOutcome = "failed";
    try {
      if (reason === "repair") this.#putBack();
      else
        outcome = this.#slices.isEmpty
          ? this.#bring(snapshot, reason)
          : this.#goOn(snapshot, reason);
    } catch (error) {
      counters.failures++;
      this.#mustCompare = true;
      this.#forgetPass();
      log.error({ problem: describeError(error) }, "cannot compare the plan with the kernel");
    }
    // What is written for thousands of nodes comes back, and is not to be read in between.
    if (outcome === "done" || outcome === "failed") {
      this.#watch.release();
      this.#account.passed();
    } else this.#watch.hold();
    counters.passes++;
    counters.lastAtMs = clock.nowMs();
    counters.lastMs = clock.monotonicMs() - startedAtMs;
    return outcome;
  }

  /** While a failure keeps all else waiting: the single objects of which a notification has told. */
  #putBack(): void {
    if (!this.#slices.isEmpty) return;
    // What is left undone here is found by the comparison that is due, and so is what was beside it.
    const applied = this.#target
      .takeFindings()
      .filter(({ change }) => this.#mayRemove || !change.kind.startsWith("remove"))
      .flatMap((finding) => applyChanges(this.#options, [finding]).applied);
    this.#account.report({ applied, failures: [] }, true);
  }

  /** With a pass of which something is written. */
  #goOn(snapshot: Snapshot, reason: LoopReason): LoopOutcome {
    if (this.#slices.hasWaiting) {
      this.#slices.begin();
      return this.#slices.room();
    }
    // Of a node that has nothing yet, the next peers are planned meanwhile.
    if (this.#isBare === true && this.#ending === undefined) return this.#bring(snapshot, reason);
    return this.#slices.ended();
  }

  #bring(snapshot: Snapshot, reason: LoopReason): LoopOutcome {
    if (this.#ending !== undefined) return this.#end(this.#ending);
    const { kernel, clock } = this.#options;
    const before = this.#settled;
    const isDue = this.#mustCompare || clock.monotonicMs() >= this.#compareAtMs;
    if (isDue || this.#mustLook) this.#planner.seeLinks(observeUnderlay(kernel));
    this.#mustLook = false;
    // Addresses of pods notify of nothing.
    if (isDue || reason === "resync") this.#planner.seePods(snapshot);
    const plan = this.#planner.plan(snapshot);
    const isPartial = plan.isPartial === true;
    if (isPartial && !this.#isWrittenAhead(plan, isDue)) return "unfinished";
    const mayRemove = snapshot.isInSync && plan.local !== undefined && this.#held.mayRemove(plan);
    this.#mayRemove = mayRemove;
    const isOther = before?.plan.own !== plan.own || before.mayRemove !== mayRemove;
    const isKept = !mayRemove && (before?.plan !== plan || this.#target.isDifferent);
    const mustCompare = isDue || isOther || isKept || this.#target.isUnclear;
    if (mustCompare && !this.#slices.isEmpty) return this.#slices.ended();
    // Some options of a device notify of nothing.
    this.#mustFit ||= reason === "resync";
    if (reason === "resync") this.#unrouted.look(plan);
    const fitted = mustCompare ? undefined : this.#fit(mayRemove);
    if (fitted === undefined) this.#results.push(this.#compare(plan, mayRemove));
    else this.#results.push(...this.#orAnew([...fitted, ...this.#apply(plan)], plan, mayRemove));
    this.#mustSet ||= isDue || reason === "resync" || before?.plan.local !== plan.local;
    // Settings while the kernel changes nothing else, or who asks turns in circles; the table meanwhile.
    if (this.#mustSet && !this.#slices.isUnderWay) {
      [this.#mustSet, this.#mustRule] = [false, true];
      this.#bringLocal("settings", plan, applySettings(this.#options, plan, this.#target));
      this.#warnings = findWarnings(this.#options);
    }
    this.#slices.begin();
    if (isPartial) {
      this.#settled = { plan, mayRemove };
      return this.#slices.room();
    }
    if (this.#mustRule) {
      this.#mustRule = false;
      this.#bringLocal("table", plan, applyTable(this.#options, plan));
    }
    this.#ending = { snapshot, plan, mayRemove };
    return this.#slices.isEmpty ? this.#end(this.#ending) : this.#slices.room();
  }

  #bringLocal(what: "settings" | "table", { local }: NodePlan, result: ApplyResult): void {
    const settled = this.#settledLocal;
    const { failures } = this.#account.report(result, settled[what] === local);
    this.#localFailures.push(...failures);
    if (failures.length === 0 && local !== undefined) settled[what] = local;
  }

  /**
   * Of a plan in parts: whether each is written while the next is planned, as on a node that has nothing yet.
   * Else all of it is compared with what the node has.
   */
  #isWrittenAhead(plan: NodePlan, isDue: boolean): boolean {
    if (!isDue) return this.#isBare === true;
    this.#isBare ??= isBare(this.#options.kernel);
    if (!this.#isBare) this.#target.aim(plan, true);
    return this.#isBare;
  }

  /** When all is written. */
  #end({ snapshot, plan, mayRemove }: Ending): LoopOutcome {
    const written = joinWritten(this.#slices.take());
    const reported = written.map((part) => this.#account.report(part, part.isRepair));
    const isWell = this.#results.every(({ failures }) => failures.length === 0);
    this.#results.push(...(isWell ? this.#orAnew(reported, plan, mayRemove) : reported));
    if (this.#slices.hasWaiting) return this.#goOn(snapshot, "news");
    const missed = this.#results.flatMap((result) => result.failures);
    const failures = [...missed, ...this.#localFailures];
    this.#forgetPass();
    if (missed.length === 0) this.#settled = { plan, mayRemove };
    if (failures.length > 0) {
      this.counters.failures++;
      this.#mustCompare = true;
    }
    const found = {
      held: this.#held.problems,
      failures,
      warnings: this.#warnings,
      unrouted: this.#unrouted,
    };
    this.#state = stateOf(snapshot, plan, found);
    this.#problems.tell(this.#state.problems);
    this.#options.onPass(this.#state);
    return failures.length === 0 ? "done" : "failed";
  }

  #forgetPass(): void {
    this.#results = [];
    this.#localFailures = [];
    this.#ending = undefined;
    this.#isBare = undefined;
  }

  /** What was noticed, then what is new in the plan: a cluster's size does not matter. */
  #apply(plan: NodePlan): ApplyResult[] {
    const repairs = this.#target.takeFindings();
    return [this.#put(repairs, true), this.#put(this.#target.advance(plan), false)];
  }

  /** Many are left to the slices. */
  #put(findings: readonly Finding[], isRepair: boolean): ApplyResult {
    if (this.#slices.isEmpty && findings.length <= writtenAtOnce) {
      return this.#account.report(applyChanges(this.#options, findings), isRepair);
    }
    this.#slices.add(findings, isRepair);
    return { applied: [], failures: [] };
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
    return result && [this.#account.report(result, true)];
  }

  #compare(plan: NodePlan, mayRemove: boolean): ApplyResult {
    const { clock } = this.#options;
    const workedMs = processorMs();
    // What has been told until now, the comparison sees: read after it, it would be put back a second time.
    this.#watch.read();
    this.#mustCompare = false;
    this.#mustFit = false;
    this.#target.aim(plan, true);
    const before = this.#settled;
    const isRepair = before?.plan === plan && before.mayRemove === mayRemove;
    const later = (findings: readonly Finding[]): void => this.#slices.add(findings, isRepair);
    const result = compareAll(this.#options, this.#target, { mayRemove, later });
    const { fullMs, fullShare } = this.#timing;
    const pauseMs = Math.max(fullMs, (processorMs() - workedMs) / fullShare);
    this.#compareAtMs = clock.monotonicMs() + pauseMs;
    this.counters.comparisons++;
    return this.#account.report(result, isRepair);
  }
}

interface Ending {
  readonly snapshot: Snapshot;
  readonly plan: NodePlan;
  readonly mayRemove: boolean;
}
