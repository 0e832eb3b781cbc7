import type { Cidr } from "../../core/address.ts";
import type { Claim } from "./claim.ts";

/** What a process knows of a block that is, was or may be its node's. */
export type OwnBlock = Claim &
  (
    | {
        /** Perhaps ours: not used before a write has proven it. */
        readonly state: "unsure";
        /** Claimed where nobody has it. */
        readonly isWanted: boolean;
      }
    | { readonly state: "held"; readonly revision: string }
    /** Not used any more; the claim may still be there. */
    | { readonly state: "leaving" }
  );

export type HeldBlock = Extract<OwnBlock, { state: "held" }>;
type State = OwnBlock["state"];

/** In memory alone: a process that starts again begins with doubts, and the store ends them. */
export class OwnBlocks {
  readonly #blocks = new Map<Cidr, OwnBlock>();
  /** Since when a block is empty, or leaving. Monotonic. */
  readonly #idleSince = new Map<Cidr, number>();
  #highestOrder = -1;

  get(block: Cidr): OwnBlock | undefined {
    return this.#blocks.get(block);
  }

  /** In the order in which the node got them. */
  inState<S extends State>(state: S): readonly Extract<OwnBlock, { state: S }>[] {
    return this.all().filter((own): own is Extract<OwnBlock, { state: S }> => own.state === state);
  }

  all(): readonly OwnBlock[] {
    return [...this.#blocks.values()].sort((a, b) => a.order - b.order);
  }

  suspect(claim: Claim, { isWanted }: { readonly isWanted: boolean }): void {
    this.#set({ ...claimOf(claim), state: "unsure", isWanted });
  }

  hold(claim: Claim, revision: string): void {
    this.#set({ ...claimOf(claim), state: "held", revision });
  }

  leave(claim: Claim, nowMs: number): void {
    this.#set({ ...claimOf(claim), state: "leaving" });
    this.#idleSince.set(claim.block, nowMs);
  }

  forget(block: Cidr): void {
    this.#blocks.delete(block);
    this.#idleSince.delete(block);
  }

  /** Nothing is held before it is proven again. What is leaving is not used anyway. */
  doubtAll(): void {
    for (const own of this.inState("held")) this.suspect(own, { isWanted: true });
  }

  /** When the block became empty, as far as this process has seen. */
  idleSince(block: Cidr, isEmpty: boolean, nowMs: number): number {
    const known = this.#idleSince.get(block);
    const isLeaving = this.get(block)?.state === "leaving";
    const since = known !== undefined && (isEmpty || isLeaving) ? known : nowMs;
    this.#idleSince.set(block, since);
    return since;
  }

  nextOrder(): number {
    return this.#highestOrder + 1;
  }

  /** Another process of this node has given orders up to this one. */
  raiseOrder(order: number): void {
    this.#highestOrder = Math.max(this.#highestOrder, order);
  }

  #set(own: OwnBlock): void {
    this.#blocks.set(own.block, own);
    this.raiseOrder(own.order);
  }
}

const claimOf = ({ block, pool, order, manual }: Claim): Claim => ({
  block,
  pool,
  order,
  ...(manual === undefined ? {} : { manual }),
});
