// When a node gets another block, and when it gives one back. Pure.
import type { Cidr } from "../../core/address.ts";

/** One block of a node in one pool and family. Numbers of addresses. */
export interface BlockUse {
  readonly block: Cidr;
  readonly state: "held" | "leaving";
  readonly order: number;
  /** Given by hand: never given back. */
  readonly isManual: boolean;
  readonly used: number;
  readonly quarantined: number;
  readonly free: number;
  /** Since when nobody used it; for a leaving one, since when it is leaving. Monotonic. */
  readonly idleSinceMs: number;
}

export interface DemandPolicy {
  /** Blocks that are kept even if empty. */
  readonly leastBlocks: number;
  readonly mostBlocks: number;
  /** Another block is claimed when no more addresses than this are free. */
  readonly claimAtFree: number;
  /** An empty block is given back when the others have at least this many free: more than the above. */
  readonly returnAtFree: number;
  /** How long a block must have been empty. */
  readonly idleMs: number;
  /** How long it is leaving, at least: whoever still knows its addresses forgets them meanwhile. */
  readonly leavingMs: number;
}

export const standardDemand: DemandPolicy = {
  leastBlocks: 1,
  mostBlocks: 32,
  claimAtFree: 8,
  returnAtFree: 64,
  idleMs: 600_000,
  leavingMs: 60_000,
};

export type DemandAction =
  | { readonly kind: "claim" }
  /** Gives no more addresses of it from now on. */
  | { readonly kind: "leave"; readonly block: Cidr }
  /** Takes a leaving one into use again. */
  | { readonly kind: "revive"; readonly block: Cidr }
  | { readonly kind: "remove"; readonly block: Cidr };

/** What to do now: at most one claim, revival or leave, and any number of removals. */
export function nextActions(
  blocks: readonly BlockUse[],
  policy: DemandPolicy,
  nowMs: number,
): readonly DemandAction[] {
  const byOrder = [...blocks].sort((a, b) => a.order - b.order);
  const held = byOrder.filter(({ state }) => state === "held");
  const leaving = byOrder.filter(({ state }) => state === "leaving");
  const free = held.reduce((sum, block) => sum + block.free, 0);
  const removals = (rest: readonly BlockUse[]): DemandAction[] =>
    rest
      .filter((block) => isEmpty(block) && nowMs - block.idleSinceMs >= policy.leavingMs)
      .map(({ block }) => ({ kind: "remove", block }));
  if (held.length < policy.leastBlocks || free <= policy.claimAtFree) {
    const [revived, ...rest] = leaving;
    if (revived !== undefined) return [{ kind: "revive", block: revived.block }, ...removals(rest)];
    return held.length < policy.mostBlocks ? [{ kind: "claim" }] : [];
  }
  const extra = held
    .slice(policy.leastBlocks)
    .findLast(
      (block) =>
        !block.isManual &&
        isEmpty(block) &&
        nowMs - block.idleSinceMs >= policy.idleMs &&
        free - block.free >= Math.max(policy.returnAtFree, policy.claimAtFree + 1),
    );
  const leave: DemandAction[] = extra === undefined ? [] : [{ kind: "leave", block: extra.block }];
  return [...leave, ...removals(leaving)];
}

const isEmpty = ({ used, quarantined }: BlockUse): boolean => used === 0 && quarantined === 0;
