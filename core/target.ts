// What one node's kernel is to hold, kept from plan to plan, and which of it is not there: known from
// what changes between two plans and from what notifications tell, without reading the kernel.
import { assertNever } from "./assert.ts";
import { type DesiredNode, type DesiredVxlan, isNodeRoute } from "./desired/node-state.ts";
import type { PeerDifference, PeerPlan } from "./desired/overlay.ts";
import type { NodePlan } from "./desired/plan.ts";
import type { KeyedNode } from "./diff.ts";
import type { Finding } from "./finding.ts";
import { vxlanDevice } from "./names.ts";
import type { ObjectChange } from "./network-change.ts";
import type { Change, FdbEntry, InterfaceAddress, Neighbor, Route } from "./network.ts";
import { addressKind, fdbKind, neighborKind, type ObjectKind, routeKind } from "./object-kind.ts";

/** A node's objects by key. Empty at first, as for a kernel that has none. */
export class Target implements KeyedNode {
  readonly #addresses = new Tracked(addressKind);
  readonly #neighbors = new Tracked(neighborKind);
  readonly #fdb = new Tracked(fdbKind);
  readonly #routes = new Tracked(routeKind);
  /** In the order in which they are put. */
  readonly #all = [this.#addresses, this.#neighbors, this.#fdb, this.#routes] as const;
  #plan: NodePlan | undefined;
  /** Of our device, when it was last seen. */
  ownIndex: number | undefined;

  readonly addresses: ReadonlyMap<string, InterfaceAddress> = this.#addresses.desired;
  readonly neighbors: ReadonlyMap<string, Neighbor> = this.#neighbors.desired;
  readonly fdb: ReadonlyMap<string, FdbEntry> = this.#fdb.desired;
  readonly routes: ReadonlyMap<string, Route> = this.#routes.desired;

  get vxlan(): DesiredVxlan | undefined {
    return this.#plan?.own.vxlan;
  }

  /** What was aimed at last. */
  get plan(): NodePlan | undefined {
    return this.#plan;
  }

  /**
   * Of two plans only the parts that are not the same object are looked at.
   * @param isCompared the kernel is compared with all of it next: what differs is found there.
   */
  aim(plan: NodePlan, isCompared = false): void {
    const before = this.#plan;
    if (before !== plan) this.#change(before, plan, isCompared);
    if (isCompared) for (const tracked of this.#all) tracked.clear();
  }

  /** As {@link aim}, then {@link takeFindings}. */
  advance(plan: NodePlan): readonly Finding[] {
    const before = this.#plan;
    const isMore =
      !this.isDifferent &&
      before?.own === plan.own &&
      differenceOf(before, plan)?.gone.length === 0;
    if (!isMore) {
      this.aim(plan);
      return this.takeFindings();
    }
    // As when thousands are planned in parts: nothing is to be looked for.
    this.#plan = plan;
    const come = differenceOf(before, plan)?.come ?? [];
    const put: Finding[] = [];
    for (const part of come) this.#neighbors.takeNew(part.neighbors, put);
    for (const part of come) this.#fdb.takeNew(part.fdb, put);
    for (const part of come) this.#routes.takeNew(part.routes, put);
    return put;
  }

  #change(before: NodePlan | undefined, plan: NodePlan, isCompared: boolean): void {
    this.#plan = plan;
    const { gone, come } = differenceOf(before, plan) ?? differenceOfPeers(before, plan);
    // First all that goes: what one part lost may be another's now.
    for (const part of gone) this.#drop(part);
    if (before !== undefined && before.own !== plan.own) {
      this.#addresses.drop(before.own.addresses);
      this.#drop(before.own);
    }
    if (before?.own !== plan.own) {
      this.#addresses.take(plan.own.addresses, isCompared);
      this.#take(plan.own, isCompared);
    }
    for (const part of come) this.#take(part, isCompared);
  }

  /** Something is other than aimed at, or may be. */
  get isDifferent(): boolean {
    return this.isUnclear || this.#all.some(({ different }) => different.size > 0);
  }

  /**
   * More may be wrong than what was noticed: of an object that took the place of another, or stands
   * beside it, only the one is told.
   */
  get isUnclear(): boolean {
    return this.#all.some(({ unclear }) => unclear.size > 0);
  }

  /** About the node's own objects: not about pods', nor about anybody else's. */
  concerns(change: ObjectChange): boolean {
    return change.kind === "route" || change.kind === "route-gone"
      ? isNodeRoute(change.item) || this.routes.has(routeKind.keyOf(change.item))
      : change.item.device === vxlanDevice;
  }

  /** Of several about one object, in their order, the last one counts. */
  notice(change: ObjectChange): void {
    switch (change.kind) {
      case "neighbor":
        return this.#neighbors.notice(change.item);
      case "fdb":
        return this.#fdb.notice(change.item);
      case "route":
        return this.#routes.notice(change.item);
      case "neighbor-gone":
        return this.#neighbors.noticeGone(change.item.address);
      case "fdb-gone":
        return this.#fdb.noticeGone(fdbKind.keyOf(change.item));
      case "route-gone":
        return this.#routes.noticeGone(routeKind.keyOf(change.item), change.item);
      default:
        return assertNever(change);
    }
  }

  /**
   * The changes for all that was noticed or aimed at since the last call, in the order of `diffNode`. Of
   * an aim they bring the kernel from the plan before to this one, if it held all of that.
   */
  takeChanges(): readonly Change[] {
    return this.takeFindings().map(({ change }) => change);
  }

  /** As {@link takeChanges}, with what was noticed in the place of each. */
  takeFindings(): readonly Finding[] {
    const findings = this.#all.map((tracked) => tracked.takeFindings());
    return [
      ...findings.flatMap(({ put }) => put),
      ...findings.toReversed().flatMap(({ remove }) => remove),
    ];
  }

  #drop({ neighbors, fdb, routes }: Objects): void {
    this.#neighbors.drop(neighbors);
    this.#fdb.drop(fdb);
    this.#routes.drop(routes);
  }

  #take({ neighbors, fdb, routes }: Objects, isCompared: boolean): void {
    this.#neighbors.take(neighbors, isCompared);
    this.#fdb.take(fdb, isCompared);
    this.#routes.take(routes, isCompared);
  }
}

/** Where the one was made from the other. */
const differenceOf = (
  before: NodePlan | undefined,
  { difference }: NodePlan,
): PeerDifference | undefined =>
  before !== undefined && difference?.from === before.mark ? difference : undefined;

function differenceOfPeers(before: NodePlan | undefined, plan: NodePlan): PeerDifference {
  const [gone, come]: [PeerPlan[], PeerPlan[]] = [[], []];
  for (const [name, part] of before?.peers ?? []) {
    if (plan.peers.get(name) !== part) gone.push(part);
  }
  for (const [name, part] of plan.peers) {
    if (before?.peers.get(name) !== part) come.push(part);
  }
  return { gone, come };
}

type Objects = Pick<DesiredNode, "neighbors" | "fdb" | "routes">;

/** One kind of object: what is desired by key, and what is to be written or removed. */
class Tracked<T> {
  readonly desired = new Map<string, T>();
  /** By key; where nothing is desired under it, what is to be removed. */
  readonly different = new Map<string, T>();
  /** Keys of which more than one object may be there, or another one may have gone. */
  readonly unclear = new Set<string>();
  readonly #kind: ObjectKind<T>;

  constructor(kind: ObjectKind<T>) {
    this.#kind = kind;
  }

  drop(items: readonly T[]): void {
    for (const item of items) {
      const key = this.#kind.keyOf(item);
      if (this.desired.get(key) !== item) continue;
      this.desired.delete(key);
      this.different.set(key, item);
    }
  }

  take(items: readonly T[], isCompared: boolean): void {
    for (const item of items) {
      const key = this.#kind.keyOf(item);
      this.desired.set(key, item);
      if (isCompared) continue;
      const dropped = this.different.get(key);
      if (dropped !== undefined && this.#kind.isSame(item, dropped)) this.different.delete(key);
      else this.different.set(key, item);
    }
  }

  /** Where none of them is known, or different. */
  takeNew(items: readonly T[], into: Finding[]): void {
    for (const item of items) {
      this.desired.set(this.#kind.keyOf(item), item);
      into.push({ change: this.#kind.put(item) });
    }
  }

  notice(item: T): void {
    const key = this.#kind.keyOf(item);
    const wanted = this.desired.get(key);
    if (wanted !== undefined && this.#kind.isSame(wanted, item)) {
      this.different.delete(key);
      this.unclear.delete(key);
      return;
    }
    this.different.set(key, item);
    this.unclear.add(key);
  }

  /** @param item as it was, where several may have the key. */
  noticeGone(key: string, item?: T): void {
    const wanted = this.desired.get(key);
    if (wanted === undefined) {
      this.different.delete(key);
      return;
    }
    this.different.set(key, wanted);
    if (item !== undefined && !this.#kind.isSame(wanted, item)) this.unclear.add(key);
  }

  takeFindings(): {
    readonly put: readonly Finding[];
    readonly remove: readonly Finding[];
  } {
    const [put, remove]: [Finding[], Finding[]] = [[], []];
    const kind = this.#kind;
    for (const [key, item] of this.different) {
      const wanted = this.desired.get(key);
      if (wanted === undefined) remove.push({ change: kind.remove(item), found: kind.put(item) });
      else if (wanted === item) put.push({ change: kind.put(wanted) });
      else put.push({ change: kind.put(wanted), found: kind.put(item) });
    }
    this.clear();
    return { put, remove };
  }

  clear(): void {
    this.different.clear();
    this.unclear.clear();
  }
}
