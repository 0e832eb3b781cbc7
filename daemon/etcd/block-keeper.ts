// This node's blocks: claimed when they are needed, proven after a start, given back when they are empty.
import { randomUUID } from "node:crypto";
import type { Cidr } from "../../core/address.ts";
import type { Clock, Random } from "../../core/clock.ts";
import { describeError } from "../../core/error.ts";
import { defaultPool } from "../../core/pool.ts";
import { ClaimAgent, type ClaimProblem, type Pool, type Use } from "../../ipam/claims/agent.ts";
import { type DemandPolicy, standardDemand } from "../../ipam/claims/demand.ts";
import { runSteps } from "../../ipam/claims/step.ts";
import type { ClaimStore } from "../../ipam/claims/store.ts";
import type { NetworkConfig } from "../config/config.ts";

export interface BlockKeeperOptions {
  readonly nodeName: string;
  /** Of the machine: two machines with one name differ in it. */
  readonly instance: string;
  readonly network: NetworkConfig;
  readonly store: ClaimStore;
  /** What the node had before its daemon started. */
  readonly previous: readonly Cidr[];
  /** How many of a block's addresses are used. */
  readonly useOf: (block: Cidr, signal: AbortSignal) => Promise<Use>;
  readonly clock: Clock;
  readonly random: Random;
  readonly policy?: DemandPolicy;
}

/** All claims are read when there is a reason, and this often: each reading costs etcd one list. */
const lookEveryMs = 300_000;
/** While something is wrong. */
const lookAgainMs = 5000;
/** While addresses are short. */
const lookSoonMs = 1000;
/** Whoever would release this node must have been without a sign of it for several of these. */
const signEveryMs = 60_000;
/** Without a sign in this time, a node that can reach the store is not there. */
export const silenceMs = 3 * signEveryMs;

export class BlockKeeper {
  readonly #options: BlockKeeperOptions;
  readonly #policy: DemandPolicy;
  readonly #agent: ClaimAgent;
  #problems: readonly ClaimProblem[] = [];
  #lookedAtMs = -Infinity;
  #signedAtMs = -Infinity;
  #isSettled = false;

  constructor(options: BlockKeeperOptions) {
    this.#options = options;
    this.#policy = options.policy ?? standardDemand;
    this.#agent = new ClaimAgent({
      node: options.nodeName,
      instance: options.instance,
      pools: poolsOf(options.network),
      policy: this.#policy,
      previous: options.previous,
      random: options.random,
      newSession: randomUUID,
    });
  }

  /** Pods may get addresses of these. */
  get held(): readonly Cidr[] {
    return this.#agent.held.map(({ block }) => block);
  }

  /** It has once had every block that it needs, or was told that there is none. */
  get isSettled(): boolean {
    return this.#isSettled;
  }

  get problems(): readonly string[] {
    return this.#problems.map((problem) => describeProblem(problem, this.#options));
  }

  /** The store may have lost what this node had claimed. */
  doubt(): void {
    this.#lookedAtMs = -Infinity;
    this.#signedAtMs = -Infinity;
  }

  /** Does what is due. Rejects when aborted. */
  async keep(signal: AbortSignal): Promise<void> {
    const { clock, store } = this.#options;
    const nowMs = clock.monotonicMs();
    const uses = await this.#uses(signal);
    if (this.#isSettled && nowMs - this.#signedAtMs >= signEveryMs) {
      const isSigned = await runSteps(this.#agent.renew(), store, signal);
      if (isSigned) this.#signedAtMs = nowMs;
      else this.#lookedAtMs = -Infinity;
    }
    const pauseMs = this.#problems.length > 0 ? lookAgainMs : lookEveryMs;
    if (nowMs - this.#lookedAtMs < pauseMs && !this.#isTight(uses, nowMs)) return;
    const useOf = (block: Cidr): Use => uses.get(block) ?? unknownUse;
    const report = await runSteps(this.#agent.reconcile({ nowMs, useOf }), store, signal);
    this.#problems = report.problems;
    this.#lookedAtMs = nowMs;
    const isComplete = report.problems.every(({ kind }) => kind === "lost" || kind === "exhausted");
    if (isComplete && report.held.length > 0) {
      if (!this.#isSettled) this.#signedAtMs = nowMs;
      this.#isSettled = true;
    }
  }

  async #uses(signal: AbortSignal): Promise<ReadonlyMap<Cidr, Use>> {
    const uses = new Map<Cidr, Use>();
    for (const { block } of [...this.#agent.held, ...this.#agent.leaving]) {
      uses.set(block, await this.#options.useOf(block, signal));
    }
    return uses;
  }

  /** Another block may be due, or one that is leaving be gone: no more than once in a short while. */
  #isTight(uses: ReadonlyMap<Cidr, Use>, nowMs: number): boolean {
    const sinceMs = nowMs - this.#lookedAtMs;
    if (sinceMs < (this.#problems.length > 0 ? lookAgainMs : lookSoonMs)) return false;
    const { claimAtFree, idleMs } = this.#policy;
    const free = new Map<string, number>();
    for (const { block, pool } of this.#agent.held) {
      const key = `${pool} ${block.includes(":") ? 6 : 4}`;
      free.set(key, (free.get(key) ?? 0) + (uses.get(block)?.free ?? 0));
    }
    const mayReturn = this.#agent.leaving.length > 0 || this.#agent.held.length > free.size;
    return (
      [...free.values()].some((count) => count <= claimAtFree) ||
      (mayReturn && sinceMs >= Math.min(idleMs, lookAgainMs))
    );
  }
}

/** A block of which nothing is known yet is not given back, and nothing is claimed for want of it. */
const unknownUse: Use = { used: 1, quarantined: 0, free: Number.MAX_SAFE_INTEGER };

function poolsOf({ podCidrs, nodePrefixLength, pools }: NetworkConfig): readonly Pool[] {
  return [
    { name: defaultPool, plan: { clusterCidrs: podCidrs, nodePrefixLength } },
    ...pools.map((pool) => ({
      name: pool.name,
      plan: { clusterCidrs: pool.cidrs, nodePrefixLength: pool.nodePrefixLength },
    })),
  ];
}

function describeProblem(problem: ClaimProblem, options: BlockKeeperOptions): string {
  const { nodeName, instance, network } = options;
  switch (problem.kind) {
    case "unavailable":
      return `Cannot settle the blocks of Node ${nodeName}: ${describeError(problem.cause)}`;
    case "nameTaken":
      return (
        `Cannot join as Node ${nodeName}: another machine has the name (${problem.instance}, this one is ` +
        `${instance}); give this node another nodeName, or, if the other is gone for good, release the name: ` +
        `fairlead ipam release ${nodeName}`
      );
    case "mismatch":
      return problem.message;
    case "exhausted":
      return `No block of pool ${problem.pool} is left for Node ${nodeName}, IPv${problem.family}: of ${cidrsOf(problem.pool, network)} all are other nodes'`;
    case "lost": {
      const whose = problem.by === "" ? "another node's" : `Node ${problem.by}'s`;
      return `Block ${problem.block} is not Node ${nodeName}'s any more: it is ${whose}`;
    }
  }
}

const cidrsOf = (pool: string, { podCidrs, pools }: NetworkConfig): string =>
  (pools.find(({ name }) => name === pool)?.cidrs ?? podCidrs).join(", ");
