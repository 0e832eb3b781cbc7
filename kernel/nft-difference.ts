// What to send so that a table becomes the desired one. Sets come before the rules that look them up,
// and go after them; a chain that differs is emptied and filled again within the transaction.
import { type Family, familyOf } from "../core/address.ts";
import { invariant } from "../core/assert.ts";
import { type NftChain, type NftSet, type NftTable, nftRuleDigest } from "../core/nft.ts";
import type { MessageBatch } from "./message.ts";
import { type Interval, boundariesOf, intervalsOf } from "./nft-interval.ts";
import {
  type DecodedChain,
  writeElements,
  writeNewChain,
  writeNewRule,
  writeNewSet,
  writeNewTable,
  writeRemoveChain,
  writeRemoveRules,
  writeRemoveSet,
  writeRemoveTable,
} from "./nft-message.ts";

/** A table as read from the kernel. */
export interface TableState {
  readonly sets: ReadonlyMap<string, SetState>;
  readonly chains: ReadonlyMap<string, ChainState>;
}

export interface SetState {
  /** Absent when it is no set of networks. */
  readonly family?: Family;
  readonly intervals: readonly Interval[];
}

export interface ChainState {
  readonly base: DecodedChain["base"];
  /** Of its rules, in order; "" for a rule that is not ours. */
  readonly digests: readonly string[];
}

/** Names of what each message does, in the order of the messages: for the error of one of them. */
class Steps {
  readonly names: string[] = [];
  readonly #batch: MessageBatch;
  readonly #before: number;

  constructor(batch: MessageBatch) {
    this.#batch = batch;
    this.#before = batch.count;
  }

  add(name: string, write: (batch: MessageBatch) => void): void {
    write(this.#batch);
    while (this.names.length < this.#batch.count - this.#before) this.names.push(name);
  }
}

/** Writes what differs; gives the names of what was written, one for each message. */
export function writeDifference(
  batch: MessageBatch,
  desired: NftTable,
  found: TableState | undefined,
): readonly string[] {
  const steps = new Steps(batch);
  let state = found;
  if (state !== undefined && hasForeignSet(desired, state)) {
    steps.add("remove the table", () => writeRemoveTable(batch, desired.name));
    state = undefined;
  }
  if (state === undefined) steps.add("add the table", () => writeNewTable(batch, desired.name));
  const { sets, chains } = state ?? { sets: new Map(), chains: new Map() };
  for (const [index, set] of desired.sets.entries()) {
    writeSet(steps, desired.name, { set, id: index + 1 }, sets.get(set.name)?.intervals);
  }
  writeChains(steps, desired, chains);
  const wanted = new Set(desired.sets.map(({ name }) => name));
  for (const name of sets.keys()) {
    if (!wanted.has(name)) {
      steps.add(`remove set ${name}`, () => writeRemoveSet(batch, desired.name, name));
    }
  }
  return steps.names;
}

/** A set of ours that is of another type: only without its rules could it be made anew. */
const hasForeignSet = (desired: NftTable, state: TableState): boolean =>
  desired.sets.some(({ name, family }) => {
    const found = state.sets.get(name);
    return found !== undefined && found.family !== family;
  });

function writeSet(
  steps: Steps,
  table: string,
  { set, id }: { readonly set: NftSet; readonly id: number },
  found: readonly Interval[] | undefined,
): void {
  const { name, family, elements } = set;
  const isOfFamily = elements.every((element) => familyOf(element) === family);
  invariant(isOfFamily, `set ${name} has only IPv${family} elements`);
  if (found === undefined) {
    steps.add(`add set ${name}`, (batch) => writeNewSet(batch, table, name, { family, id }));
  }
  const where = { table, set: name, family };
  const wanted = intervalsOf(elements);
  const boundaries = (intervals: readonly Interval[]) =>
    intervals.flatMap((interval) => boundariesOf(interval, family));
  // Removals first: what comes may overlap what goes.
  steps.add(`remove elements of set ${name}`, (batch) =>
    writeElements(batch, "remove", where, boundaries(without(found ?? [], wanted))),
  );
  steps.add(`add elements to set ${name}`, (batch) =>
    writeElements(batch, "add", where, boundaries(without(wanted, found ?? []))),
  );
}

function without(intervals: readonly Interval[], others: readonly Interval[]): Interval[] {
  const keyOf = ({ first, last }: Interval): string => `${first}-${last}`;
  const keys = new Set(others.map(keyOf));
  return intervals.filter((interval) => !keys.has(keyOf(interval)));
}

function writeChains(
  steps: Steps,
  desired: NftTable,
  found: ReadonlyMap<string, ChainState>,
): void {
  const wanted = new Map(desired.chains.map((chain) => [chain.name, chain]));
  const isMisplaced = (name: string, state: ChainState): boolean => {
    const chain = wanted.get(name);
    return chain === undefined || !isSameBase(chain, state);
  };
  const misplaced = Array.from(found)
    .filter(([name, state]) => isMisplaced(name, state))
    .map(([name]) => name);
  // All emptied before one is removed: a rule of one may jump to another.
  for (const name of misplaced) emptyChain(steps, desired.name, name);
  for (const name of misplaced) {
    steps.add(`remove chain ${name}`, (batch) => writeRemoveChain(batch, desired.name, name));
  }
  for (const chain of desired.chains) {
    const state = misplaced.includes(chain.name) ? undefined : found.get(chain.name);
    writeChain(steps, desired.name, chain, state);
  }
}

function writeChain(
  steps: Steps,
  table: string,
  chain: NftChain,
  state: ChainState | undefined,
): void {
  const { name, rules } = chain;
  if (state === undefined) {
    steps.add(`add chain ${name}`, (batch) => writeNewChain(batch, table, chain));
  } else {
    if (isSameList(state.digests, rules.map(nftRuleDigest))) return;
    if (state.digests.length > 0) emptyChain(steps, table, name);
  }
  for (const rule of rules) {
    steps.add(`add rule "${rule.comment}" to chain ${name}`, (batch) =>
      writeNewRule(batch, table, name, rule),
    );
  }
}

const emptyChain = (steps: Steps, table: string, name: string): void =>
  steps.add(`empty chain ${name}`, (batch) => writeRemoveRules(batch, table, name));

function isSameBase({ hook }: NftChain, { base }: ChainState): boolean {
  if (hook === undefined) return base === "none";
  return (
    typeof base !== "string" &&
    base.type === hook.type &&
    base.hook === hook.hook &&
    base.priority === hook.priority
  );
}

const isSameList = (a: readonly string[], b: readonly string[]): boolean =>
  a.length === b.length && a.every((text, i) => text === b[i]);
