// Taking blocks from a node that is gone. Nobody can see from afar that a machine is dead: so it needs
// the operator's word (the caller's: the Node was taken out of the cluster) and a name that showed no sign
// of life for as long as a live node would.
import type { Cidr } from "../../core/address.ts";
import type { Random } from "../../core/clock.ts";
import {
  blockOfKey,
  blocksPrefix,
  formatRecord,
  nodeKey,
  nodesPrefix,
  type NodeRecord,
  readBlock,
  readNode,
} from "./records.ts";
import { backOff, mostTries } from "./retry.ts";
import type { ClaimEntry } from "./store.ts";
import { read, type Steps, write } from "./step.ts";

/** A node's last sign of life, as the observer saw it. */
export interface SeenNode {
  readonly node: string;
  readonly entry: ClaimEntry;
  /** The observer's own monotonic clock. */
  readonly seenAtMs: number;
}

export type ReleaseResult =
  /** With the blocks that this process took from it, in the order of their keys. */
  | { readonly kind: "released"; readonly blocks: readonly Cidr[] }
  /** It showed a sign of life, or came back: nothing more is taken from it. */
  | { readonly kind: "alive" }
  | { readonly kind: "tooEarly"; readonly waitMs: number }
  | { readonly kind: "unavailable"; readonly cause: unknown };

/** Undefined when no node goes by the name, or the store does not answer. */
export function* observeNode(node: string, nowMs: number): Steps<SeenNode | undefined> {
  const found = yield* read({ kind: "get", key: nodeKey(node) });
  const [entry] = found.kind === "read" ? found.entries : [];
  return entry === undefined ? undefined : { node, entry, seenAtMs: nowMs };
}

/**
 * Frees every block of a node. The mark that begins it is written at the very revision that was seen
 * `leaseMs` ago: a sign of life since then makes it fail, whatever the clocks of the machines say.
 */
export function* releaseNode(
  seen: SeenNode,
  {
    leaseMs,
    nowMs,
    random,
  }: { readonly leaseMs: number; readonly nowMs: number; readonly random: Random },
): Steps<ReleaseResult> {
  const waitMs = seen.seenAtMs + leaseMs - nowMs;
  if (waitMs > 0) return { kind: "tooEarly", waitMs };
  const value = markOf(readNode(seen.entry));
  const marked = yield* write({ kind: "replace", entry: { ...seen.entry, value } });
  if (marked.kind === "uncertain") return { kind: "unavailable", cause: marked.cause };
  if (marked.kind === "conflict") return { kind: "alive" };
  return yield* finishRelease(
    seen.node,
    { ...seen.entry, value, revision: marked.revision },
    random,
  );
}

const markOf = (record: NodeRecord): string =>
  formatRecord({ ...record, state: "released", beat: record.beat + 1 });

const mostRounds = 16;

/**
 * Removes the claims of a node that is marked as released, then the mark. Anybody may go on with it
 * where another died. A round removes the claims it saw before it touched the mark: the node had not
 * come back by then, and if it does now, it writes to its claims before it uses them, so that a removal
 * at the revision that was seen fails.
 */
export function* finishRelease(
  node: string,
  mark: ClaimEntry,
  random: Random,
): Steps<ReleaseResult> {
  const blocks: Cidr[] = [];
  let current = mark;
  let cause: unknown = new Error(`claims of ${node} came up again and again`);
  for (let round = 0; round < mostRounds; round++) {
    if (round > 0) yield* backOff(Math.min(round, mostTries), random);
    const found = yield* read({ kind: "list", prefix: blocksPrefix });
    if (found.kind === "uncertain") {
      ({ cause } = found);
      continue;
    }
    const claims = found.entries.filter((entry) => readBlock(entry)?.node === node);
    if (claims.length === 0) {
      const { key, revision } = current;
      const removed = yield* write({ kind: "remove", key, revision });
      if (removed.kind === "written") return { kind: "released", blocks };
      if (removed.kind === "uncertain") ({ cause } = removed);
    } else {
      const value = markOf(readNode(current));
      const touched = yield* write({ kind: "replace", entry: { ...current, value } });
      if (touched.kind === "written") {
        current = { ...current, value, revision: touched.revision };
        blocks.push(...(yield* removeClaims(claims)));
        continue;
      }
      if (touched.kind === "uncertain") ({ cause } = touched);
    }
    // Somebody else goes on with it, or has come to the end, or the node is back.
    const again = yield* read({ kind: "get", key: nodeKey(node) });
    if (again.kind === "uncertain") continue;
    const [entry] = again.entries;
    if (entry === undefined) return { kind: "released", blocks };
    if (readNode(entry).state === "alive") return { kind: "alive" };
    current = entry;
  }
  return { kind: "unavailable", cause };
}

function* removeClaims(claims: readonly ClaimEntry[]): Steps<readonly Cidr[]> {
  const removed: Cidr[] = [];
  for (const { key, revision } of claims) {
    const block = blockOfKey(key);
    const { kind } = yield* write({ kind: "remove", key, revision });
    if (kind === "written" && block !== undefined) removed.push(block);
  }
  return removed;
}

/**
 * Frees the blocks of a name that no node goes by. That its mark can be created proves that nobody has
 * the name, which a read could not; it is alive where it cannot.
 */
export function* releaseNameless(node: string, random: Random): Steps<ReleaseResult> {
  const record = { version: 1, state: "released", instance: "", session: "", beat: 0 } as const;
  const entry = { key: nodeKey(node), value: formatRecord(record), revision: "" };
  const created = yield* write({ kind: "create", key: entry.key, value: entry.value });
  if (created.kind === "uncertain") return { kind: "unavailable", cause: created.cause };
  if (created.kind === "conflict") return { kind: "alive" };
  return yield* finishRelease(node, { ...entry, revision: created.revision }, random);
}

export interface FreedNode {
  readonly node: string;
  readonly blocks: readonly Cidr[];
  /** nameless: no node went by the name. unfinished: a release of it had been interrupted. */
  readonly why: "nameless" | "unfinished";
}

/**
 * Frees what nobody will ask for: claims of names that no node goes by (a write that took effect after
 * its node was released), and what an interrupted release left.
 */
export function* sweepOrphans(random: Random): Steps<readonly FreedNode[]> {
  const nodes = yield* read({ kind: "list", prefix: nodesPrefix });
  const blocks = yield* read({ kind: "list", prefix: blocksPrefix });
  if (nodes.kind === "uncertain" || blocks.kind === "uncertain") return [];
  const freed: FreedNode[] = [];
  const known = new Set<string>();
  for (const entry of nodes.entries) {
    const node = entry.key.slice(nodesPrefix.length);
    known.add(node);
    if (readNode(entry).state !== "released") continue;
    const result = yield* finishRelease(node, entry, random);
    if (result.kind === "released") freed.push({ node, blocks: result.blocks, why: "unfinished" });
  }
  const owners = new Set(blocks.entries.flatMap((entry) => readBlock(entry)?.node ?? []));
  for (const node of owners) {
    if (known.has(node)) continue;
    const result = yield* releaseNameless(node, random);
    if (result.kind === "released") freed.push({ node, blocks: result.blocks, why: "nameless" });
  }
  return freed;
}
