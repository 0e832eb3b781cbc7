// A node's part in the claims: what it holds, and the steps that bring it what it needs.
import { type Cidr, type Family, familyOf } from "../../core/address.ts";
import { assertNever } from "../../core/assert.ts";
import type { Random } from "../../core/clock.ts";
import { type BlockPlan, familiesOf, freeBlocks, isBlockOf } from "../node-blocks.ts";
import {
  type Claimant,
  createClaim,
  endClaim,
  type Proof,
  proveClaim,
  verifyClaim,
} from "./claim.ts";
import { type BlockUse, type DemandAction, type DemandPolicy, nextActions } from "./demand.ts";
import { coveringBlocks, describeMismatch, settleDivision } from "./division.ts";
import { type HeldBlock, OwnBlocks, type OwnBlock } from "./own-blocks.ts";
import { blockOfKey, blocksPrefix, readBlock } from "./records.ts";
import { type Identity, register, type Registration, renew } from "./registration.ts";
import { read, type Steps } from "./step.ts";

export interface Pool {
  readonly name: string;
  readonly plan: BlockPlan;
  /** Has no block before a pod asks for one. */
  readonly isOnDemand?: boolean;
}

export interface AgentOptions extends Identity {
  readonly pools: readonly Pool[];
  readonly policy: DemandPolicy;
  /** What the node knows that it had: it gets these back, if nobody else has them. */
  readonly previous?: readonly Cidr[];
  /** Given to it by hand, in its manifest. */
  readonly manual?: readonly Cidr[];
  readonly random: Random;
  /** A text that nobody has used, for each registration. */
  readonly newSession: () => string;
}

/** Numbers of addresses in a block. */
export type Use = Pick<BlockUse, "used" | "quarantined" | "free">;

export interface Situation {
  /** Monotonic. */
  readonly nowMs: number;
  readonly useOf: (block: Cidr) => Use;
  /** Pools on demand of which pods want addresses. */
  readonly wanted?: ReadonlySet<string>;
}

export type ClaimProblem =
  /** The store does not answer: what is held stays so, and all is tried again. */
  | { readonly kind: "unavailable"; readonly cause: unknown }
  | { readonly kind: "nameTaken"; readonly node: string; readonly instance: string }
  | { readonly kind: "mismatch"; readonly message: string }
  | { readonly kind: "exhausted"; readonly pool: string; readonly family: Family }
  /** What this node had, or was given by hand, is another's. `by` is empty when that cannot be told. */
  | { readonly kind: "lost"; readonly block: Cidr; readonly by: string; readonly manual?: Cidr };

export interface ClaimReport {
  /** Addresses may be given of these. */
  readonly held: readonly OwnBlock[];
  /** No more addresses are given of these; those that are there stay. */
  readonly leaving: readonly OwnBlock[];
  readonly problems: readonly ClaimProblem[];
}

/** How many of the first free blocks a claim chooses among after so many others were quicker. */
const windowAfter = (conflicts: number): number => 1 << Math.min(conflicts, 8);
const mostConflicts = 64;

/** Used by one caller at a time: each of its steps runs to its end before the next begins. */
export class ClaimAgent {
  readonly #options: AgentOptions;
  readonly #own = new OwnBlocks();
  #registration: Registration | undefined;
  /** The session that this process had last. */
  #session: string | undefined;

  /** Throws RangeError for a pod CIDR given by hand that is too large. */
  constructor(options: AgentOptions) {
    this.#options = options;
    for (const cidr of options.manual ?? []) {
      for (const { name, plan } of options.pools) {
        for (const block of coveringBlocks(plan, cidr)) {
          this.#own.suspect({ block, pool: name, order: 0, manual: cidr }, { isWanted: true });
        }
      }
    }
    for (const block of options.previous ?? []) this.#suspectPrevious(block);
  }

  get held(): readonly OwnBlock[] {
    return this.#own.inState("held");
  }

  get leaving(): readonly OwnBlock[] {
    return this.#own.inState("leaving");
  }

  /** Registers, finds out what is this node's, and claims or gives back what the situation asks for. */
  *reconcile(situation: Situation): Steps<ClaimReport> {
    const problems: ClaimProblem[] = [];
    const claimant = yield* this.#begin(problems);
    if (claimant !== undefined) {
      const taken = yield* this.#look(claimant, problems);
      if (taken !== undefined) {
        yield* this.#proveAll(claimant, problems);
        for (const group of this.#groups()) {
          yield* this.#meet(claimant, group, { situation, taken, problems });
        }
      }
    }
    return { held: this.held, leaving: this.leaving, problems };
  }

  /** A sign of life, due several times in the time after which a silent node may be released. */
  *renew(): Steps<boolean> {
    if (this.#registration === undefined) return false;
    const renewed = yield* renew(this.#options, this.#registration, this.#options.random);
    if (renewed.kind === "renewed") this.#registration = renewed.registration;
    if (renewed.kind !== "ended") return renewed.kind === "renewed";
    // Whatever was held may have been given to others: nothing is held before it is proven again.
    this.#registration = undefined;
    this.#own.doubtAll();
    return false;
  }

  *#begin(problems: ClaimProblem[]): Steps<Claimant | undefined> {
    const { node, random, pools, newSession } = this.#options;
    if (this.#registration === undefined) {
      const session = newSession();
      const result = yield* register(this.#options, session, { previous: this.#session, random });
      if (result.kind === "nameTaken") {
        this.#own.doubtAll();
        problems.push({ kind: "nameTaken", node, instance: result.instance });
        return undefined;
      }
      if (result.kind === "uncertain") {
        problems.push({ kind: "unavailable", cause: result.cause });
        return undefined;
      }
      this.#registration = result.registration;
      this.#session = session;
      const plans = pools.map(({ plan }) => plan);
      const settled = yield* settleDivision(plans, random);
      if (settled.kind !== "settled") {
        this.#registration = undefined;
        problems.push(
          settled.kind === "mismatch"
            ? { kind: "mismatch", message: describeMismatch(settled) }
            : { kind: "unavailable", cause: settled.cause },
        );
        return undefined;
      }
    }
    return { node, session: this.#registration.session, random };
  }

  /** Everybody's claims, as far as a read can tell: hints at what is ours, and what is taken. */
  *#look(claimant: Claimant, problems: ClaimProblem[]): Steps<Cidr[] | undefined> {
    const found = yield* read({ kind: "list", prefix: blocksPrefix });
    if (found.kind === "uncertain") {
      problems.push({ kind: "unavailable", cause: found.cause });
      return undefined;
    }
    const taken: Cidr[] = [];
    const doubtful: HeldBlock[] = [];
    for (const entry of found.entries) {
      const block = blockOfKey(entry.key);
      if (block === undefined) continue;
      taken.push(block);
      const record = readBlock(entry);
      const own = this.#own.get(block);
      if (record?.node === this.#options.node) {
        this.#own.raiseOrder(record.order);
        if (own === undefined) this.#own.suspect({ block, ...record }, { isWanted: false });
        else if (own.state === "unsure" && own.manual === undefined) {
          this.#own.suspect({ ...own, order: record.order, pool: record.pool }, own);
        }
      } else if (own?.state === "held") doubtful.push(own);
    }
    // Read too early, or removed by hand: a write tells, and claims what nobody has.
    doubtful.push(...this.#own.inState("held").filter(({ block }) => !taken.includes(block)));
    for (const own of doubtful) {
      const proof = yield* verifyClaim(claimant, own, own.revision);
      this.#conclude(own, proof, problems);
    }
    return taken;
  }

  *#proveAll(claimant: Claimant, problems: ClaimProblem[]): Steps<void> {
    for (const own of this.#own.inState("unsure")) {
      const proof = yield* proveClaim(claimant, own, { isWanted: own.isWanted });
      this.#conclude(own, proof, problems);
    }
  }

  #conclude(own: OwnBlock, proof: Proof, problems: ClaimProblem[]): void {
    switch (proof.kind) {
      case "held":
        this.#own.hold(own, proof.revision);
        break;
      case "absent":
        this.#own.forget(own.block);
        break;
      case "taken": {
        const { block, manual } = own;
        const isMissed = own.state === "held" || (own.state === "unsure" && own.isWanted);
        if (isMissed) problems.push({ kind: "lost", by: proof.by, ...pick({ block, manual }) });
        // What was given by hand is asked for again, as long as the manifest says so.
        if (manual === undefined) this.#own.forget(block);
        else this.#own.suspect(own, { isWanted: true });
        break;
      }
      case "uncertain":
        // Nobody but us ends a claim of ours: what was held is held.
        problems.push({ kind: "unavailable", cause: proof.cause });
        break;
      default:
        assertNever(proof);
    }
  }

  /** Does what demand asks for in one pool and family. */
  *#meet(claimant: Claimant, group: Group, view: View): Steps<void> {
    const { situation, problems } = view;
    for (const action of this.#actionsFor(group, situation)) {
      const own = action.kind === "claim" ? undefined : this.#own.get(action.block);
      if (action.kind === "claim") yield* this.#claim(claimant, group, view);
      else if (own === undefined) continue;
      else if (action.kind === "revive") {
        this.#own.suspect(own, { isWanted: true });
        const proof = yield* proveClaim(claimant, own, { isWanted: true });
        this.#conclude(this.#own.get(own.block) ?? own, proof, problems);
      } else if (action.kind === "leave") {
        this.#own.leave(own, situation.nowMs);
        yield* endClaim(claimant, own, "leaving");
      } else if (yield* endClaim(claimant, own, "removed")) this.#own.forget(own.block);
    }
  }

  #actionsFor(group: Group, { nowMs, useOf, wanted }: Situation): readonly DemandAction[] {
    const { policy } = this.#options;
    const blocks = group.blocks.flatMap((own): BlockUse[] => {
      if (own.state === "unsure") return [];
      const { block, state, order, manual } = own;
      const use = useOf(block);
      const isEmpty = use.used === 0 && use.quarantined === 0;
      const idleSinceMs = this.#own.idleSince(block, isEmpty, nowMs);
      return [{ block, state, order, isManual: manual !== undefined, ...use, idleSinceMs }];
    });
    if (group.pool === undefined) return nextActions(blocks, retirement(policy), nowMs);
    const isOnDemand = group.pool.isOnDemand ?? false;
    const actions = nextActions(blocks, isOnDemand ? { ...policy, leastBlocks: 0 } : policy, nowMs);
    const isIdle =
      isOnDemand &&
      !blocks.some(({ state }) => state === "held") &&
      wanted?.has(group.pool.name) !== true;
    // A block that may come back to us is waited for before another is claimed.
    const isAwaiting = group.blocks.some((own) => own.state === "unsure" && own.isWanted);
    return actions.filter(
      ({ kind }) => !(isIdle && kind !== "remove") && !(isAwaiting && kind === "claim"),
    );
  }

  // Nodes that start together all see the same first free block. Whoever was too slow chooses at random
  // among twice as many each time, so that as many nodes need a few tries, not as many as they are.
  *#claim(claimant: Claimant, { pool, family }: Group, view: View): Steps<void> {
    if (pool === undefined) return;
    const { taken, problems } = view;
    const order = this.#own.nextOrder();
    const own = this.#own.all().map(({ block }) => block);
    for (let conflicts = 0; conflicts < mostConflicts; conflicts++) {
      const window = freeBlocks(pool.plan, family, [...taken, ...own])
        .take(windowAfter(conflicts))
        .toArray();
      const block = window[claimant.random.below(Math.max(1, window.length))];
      if (block === undefined) {
        problems.push({ kind: "exhausted", pool: pool.name, family });
        return;
      }
      taken.push(block);
      const claim = { block, pool: pool.name, order };
      const proof = yield* createClaim(claimant, claim);
      if (proof.kind === "held") return this.#own.hold(claim, proof.revision);
      if (proof.kind === "uncertain") {
        this.#own.suspect(claim, { isWanted: false });
        problems.push({ kind: "unavailable", cause: proof.cause });
        return;
      }
    }
    const cause = new Error(`others were quicker at ${mostConflicts} blocks`);
    problems.push({ kind: "unavailable", cause });
  }

  /** Own blocks by pool and family; those that no pool divides its CIDRs into come last. */
  #groups(): readonly Group[] {
    const all = this.#own.all();
    const groups = this.#options.pools.flatMap((pool) =>
      familiesOf(pool.plan).map((family): Group => {
        const blocks = all.filter((own) => own.pool === pool.name && isAt(pool.plan, family, own));
        return { pool, family, blocks };
      }),
    );
    const known = new Set(groups.flatMap(({ blocks }) => blocks));
    const rest = all.filter((own) => !known.has(own));
    return [...groups, { pool: undefined, family: 4, blocks: rest }];
  }

  #suspectPrevious(block: Cidr): void {
    const pool = this.#options.pools.find(({ plan }) => isBlockOf(plan, block));
    if (pool === undefined || this.#own.get(block) !== undefined) return;
    const order = this.#own.nextOrder();
    this.#own.suspect({ block, pool: pool.name, order }, { isWanted: true });
  }
}

interface Group {
  /** Undefined: of a pool that is no more; its blocks are given back when they are empty. */
  readonly pool: Pool | undefined;
  readonly family: Family;
  readonly blocks: readonly OwnBlock[];
}

interface View {
  readonly situation: Situation;
  readonly taken: Cidr[];
  readonly problems: ClaimProblem[];
}

const retirement = (policy: DemandPolicy): DemandPolicy => ({
  ...policy,
  leastBlocks: 0,
  mostBlocks: 0,
  claimAtFree: -1,
  returnAtFree: 0,
});

const isAt = (plan: BlockPlan, family: Family, { block, manual }: OwnBlock): boolean =>
  familyOf(block) === family && (manual !== undefined || isBlockOf(plan, block));

const pick = ({ block, manual }: { readonly block: Cidr; readonly manual?: Cidr | undefined }) =>
  manual === undefined ? { block } : { block, manual };
