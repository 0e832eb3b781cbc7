// Which other nodes' pods this node cannot reach, for the resolver: no answer names them. A route takes a
// pass of the reconciler to come or go, and the cluster's news is in the answers before that.
import { type Cidr, cidrPrefixLength, cidrsOverlap } from "../../core/address.ts";
import type { Snapshot } from "../../core/cluster/model.ts";
import type { NodePlan } from "../../core/desired/plan.ts";

/** What a pass of the reconciler leaves. */
export interface Pass {
  readonly plan: Pick<NodePlan, "peers">;
  readonly isProgrammed: boolean;
}

/**
 * Blocks of peers that are new, until a pass has brought the routes there; and of a node that has left,
 * before the pass that removes them. Nothing is withheld on a guess: what was there before the first pass
 * counts as reached, after a pass that failed what was reached before it still is, and so is a block that no
 * route of ours leads to, for somebody else's may. Of nodes that leave together, which the removal guard may
 * take for an accident, none is withheld.
 */
export class UnreachedPeers {
  readonly #own: string;
  /** By node: blocks that a pass has dealt with. Undefined before the first one. */
  #reached: Map<string, readonly Cidr[]> | undefined;
  /** Of nodes that have left. */
  #left: readonly Cidr[] = [];
  #fresh: readonly Cidr[] = [];
  /** The plan that the last pass was of. */
  #of: Pass["plan"] | undefined;

  constructor(ownName: string) {
    this.#own = ownName;
  }

  get networks(): readonly Cidr[] {
    return [...this.#fresh, ...this.#left];
  }

  /** For each snapshot, before anything is done about it. */
  see({ nodes }: Snapshot): void {
    const reached = this.#reached;
    if (reached === undefined) return;
    const gone = [...reached.keys()].filter((name) => !nodes.has(name));
    const [only] = gone;
    if (only !== undefined && gone.length === 1) {
      this.#left = [...this.#left, ...(reached.get(only) ?? [])].slice(-maxLeft);
      reached.delete(only);
    }
    const known = new Set([...reached.values()].flat());
    const own = nodes.get(this.#own)?.podCidrs ?? [];
    const others = [...known, ...own];
    // Where blocks overlap, one of two nodes has them, and which one is for the plan to say.
    this.#fresh = [...nodes.values()]
      .filter(({ name }) => name !== this.#own)
      .flatMap(({ podCidrs }) => podCidrs.filter((block) => !known.has(block)))
      .filter((block) => !others.some((other) => isNested(block, other)));
    this.#left = this.#left.filter((block) => !isTaken(block, [...others, ...this.#fresh]));
  }

  passed({ plan, isProgrammed }: Pass): void {
    if (this.#reached !== undefined && !isProgrammed) return;
    // At rest nothing is looked at, however many peers there are.
    if (this.#of === plan && this.#fresh.length === 0 && this.#left.length === 0) return;
    this.#of = plan;
    const peers = Array.from(plan.peers.values(), ({ node }) => node);
    this.#reached = new Map(peers.map(({ name, podCidrs }) => [name, podCidrs]));
    this.#fresh = [];
    const known = peers.flatMap(({ podCidrs }) => podCidrs);
    this.#left = this.#left.filter((block) => !isTaken(block, known));
  }
}

const maxLeft = 64;

// Of one length, two that are not the same are apart.
const isNested = (block: Cidr, other: Cidr): boolean =>
  cidrPrefixLength(block) !== cidrPrefixLength(other) && cidrsOverlap(block, other);

const isTaken = (block: Cidr, others: readonly Cidr[]): boolean =>
  others.some((other) => cidrsOverlap(block, other));
