// Pod CIDRs for this node where no controller gives them: one block for each family, claimed among the nodes
// and then written to the Node, where the other nodes find it. A Node that has pod CIDRs keeps them, and
// they are claimed too, so that nobody else takes them.
import { randomUUID } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import type { Cidr } from "../../core/address.ts";
import type { Clock, Random } from "../../core/clock.ts";
import { describeError } from "../../core/error.ts";
import type { Log } from "../../core/log.ts";
import { defaultPool } from "../../core/pool.ts";
import { ClaimAgent, type ClaimProblem } from "../../ipam/claims/agent.ts";
import { standardDemand } from "../../ipam/claims/demand.ts";
import { runSteps } from "../../ipam/claims/step.ts";
import type { ClaimStore } from "../../ipam/claims/store.ts";
import type { NetworkConfig } from "../config/config.ts";
import { Backoff, type BackoffTiming } from "../source/backoff.ts";
import type { ApiClient } from "./api-client.ts";
import { ApiError } from "./api-error.ts";
import type { OwnNode } from "./own-node.ts";

export interface PodCidrOptions {
  /** Stays the caller's. */
  readonly client: ApiClient;
  readonly store: ClaimStore;
  readonly nodeName: string;
  /** Of the machine: two machines with one name differ in it. */
  readonly instance: string;
  readonly network: NetworkConfig;
  /** As the newest list or watch has it; undefined: not known. */
  readonly ownNode: () => OwnNode | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly timing?: PodCidrTiming;
}

export interface PodCidrTiming extends BackoffTiming {
  readonly everyMs: number;
  /** A sign of life: who would take a dead node's claims waits for several of these. */
  readonly signMs: number;
}

const usualTiming: PodCidrTiming = {
  everyMs: 1000,
  firstMs: 1000,
  mostMs: 60_000,
  signMs: 600_000,
};

/** A block is as large as a node's part: there is never another. */
const policy = { ...standardDemand, leastBlocks: 1, mostBlocks: 1 };

export class PodCidrGiver implements Disposable {
  readonly #options: PodCidrOptions;
  readonly #timing: PodCidrTiming;
  readonly #disposal = new AbortController();
  readonly #backoff: Backoff;
  #timer: NodeJS.Timeout | undefined;
  #nextAtMs = -Infinity;
  /** For the Node of this uid, with these pod CIDRs, all is claimed. */
  #settled: { readonly uid: string; readonly podCidrs: readonly Cidr[] } | undefined;
  #agent:
    | { readonly value: ClaimAgent; readonly manual: readonly Cidr[]; readonly uid: string }
    | undefined;
  #problems: readonly string[] = [];

  constructor(options: PodCidrOptions) {
    this.#options = options;
    this.#timing = options.timing ?? usualTiming;
    this.#backoff = new Backoff(this.#timing, options.random);
    this.#schedule();
  }

  get problems(): readonly string[] {
    return this.#problems;
  }

  [Symbol.dispose](): void {
    this.#disposal.abort();
    clearTimeout(this.#timer);
  }

  #schedule(): void {
    this.#timer = setTimeout(() => void this.#step(), this.#timing.everyMs);
  }

  async #step(): Promise<void> {
    const { clock, nodeName } = this.#options;
    const { signal } = this.#disposal;
    const node = this.#options.ownNode();
    try {
      if (node !== undefined && clock.monotonicMs() >= this.#nextAtMs) await this.#settle(node);
    } catch (error) {
      if (signal.aborted) return;
      this.#problems = [`Cannot give Node ${nodeName} its pod CIDRs: ${describeError(error)}`];
      this.#wait();
    }
    if (!signal.aborted) this.#schedule();
  }

  #wait(): void {
    this.#nextAtMs = this.#options.clock.monotonicMs() + this.#backoff.next();
  }

  async #settle(node: OwnNode): Promise<void> {
    const { store, clock } = this.#options;
    const { signal } = this.#disposal;
    const { uid, podCidrs } = node;
    const agent = this.#agentFor(node);
    if (isDeepStrictEqual(this.#settled, { uid, podCidrs })) {
      const isSigned = await runSteps(agent.renew(), store, signal);
      this.#settled = isSigned ? this.#settled : undefined;
      this.#nextAtMs = isSigned ? clock.monotonicMs() + this.#timing.signMs : -Infinity;
      return;
    }
    const situation = { nowMs: clock.monotonicMs(), useOf: () => inUse };
    const { held, problems } = await runSteps(agent.reconcile(situation), store, signal);
    this.#problems = problems.map((problem) => describe(problem, this.#options));
    if (problems.length > 0) return this.#wait();
    if (podCidrs.length === 0)
      await this.#write(
        held.map(({ block }) => block),
        node,
      );
    else this.#settled = { uid, podCidrs };
    this.#backoff.succeed();
  }

  #agentFor({ uid, podCidrs }: OwnNode): ClaimAgent {
    const { nodeName, instance, network, random } = this.#options;
    // What it claimed itself is what its Node then has.
    const known = this.#agent;
    const isSame =
      known?.uid === uid &&
      (known.manual.length === 0 || isDeepStrictEqual(known.manual, podCidrs));
    if (known !== undefined && isSame) return known.value;
    const { podCidrs: clusterCidrs, nodePrefixLength } = network;
    const value = new ClaimAgent({
      node: nodeName,
      instance,
      pools: [{ name: defaultPool, plan: { clusterCidrs, nodePrefixLength } }],
      policy,
      manual: podCidrs,
      random,
      newSession: randomUUID,
    });
    this.#agent = { value, manual: podCidrs, uid };
    return value;
  }

  /** Over the very Node that had none: who has given it some meanwhile is not overwritten. */
  async #write(podCidrs: readonly Cidr[], { resourceVersion }: OwnNode): Promise<void> {
    const { client, nodeName, log } = this.#options;
    const [podCIDR] = podCidrs;
    const body = { metadata: { resourceVersion }, spec: { podCIDR, podCIDRs: podCidrs } };
    const contentType = "application/merge-patch+json";
    const path = `/api/v1/nodes/${nodeName}`;
    try {
      await client.ask({ method: "PATCH", path, body, contentType }, this.#disposal.signal);
      log.info({ podCidrs }, "gave the node its pod CIDRs");
    } catch (error) {
      // The watch brings the Node as it is now.
      if (!(error instanceof ApiError) || error.code !== 409) throw error;
    }
  }
}

/** A block that is claimed is kept, and no other is wanted. */
const inUse = { used: 1, quarantined: 0, free: Number.MAX_SAFE_INTEGER };

function describe(problem: ClaimProblem, { nodeName, instance, network }: PodCidrOptions): string {
  switch (problem.kind) {
    case "unavailable":
      return `Cannot claim pod CIDRs for Node ${nodeName}: ${describeError(problem.cause)}`;
    case "nameTaken":
      return `Cannot claim pod CIDRs for Node ${nodeName}: another machine has the name (${problem.instance}, this one is ${instance})`;
    case "mismatch":
      return problem.message;
    case "exhausted":
      return `No pod CIDR is left for Node ${nodeName}: all of ${network.podCidrs.join(", ")} are claimed`;
    case "lost":
      return `Cannot claim ${problem.block} of Node ${nodeName}'s pod CIDRs: ${problem.by === "" ? "another node" : `Node ${problem.by}`} has it`;
  }
}
