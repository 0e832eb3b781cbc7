// What to send so that a table becomes the desired one. Sets come before the rules that look them up,
// and go after them; a chain that differs is emptied and filled again within the transaction.
import { type Family, familyOf } from "../core/address.ts";
import { invariant } from "../core/assert.ts";
import {
  type NftChain,
  type NftMap,
  type NftMapElement,
  type NftMapType,
  type NftSet,
  type NftTable,
  type NftTableFlag,
  formatMapElement,
  nftRuleDigest,
} from "../core/nft.ts";
import type { NftStep } from "../core/nft-step.ts";
import type { MessageBatch } from "./message.ts";
import { type Interval, boundariesOf, intervalsOf, toElement } from "./nft-interval.ts";
import { encodeData } from "./nft-map.ts";
import {
  type DecodedChain,
  type RawElement,
  type SetType,
  writeClearTableFlags,
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
  readonly flags: readonly NftTableFlag[];
  readonly sets: ReadonlyMap<string, SetState>;
  readonly chains: ReadonlyMap<string, ChainState>;
}

export type SetState =
  | { readonly kind: "networks"; readonly family: Family; readonly intervals: readonly Interval[] }
  | (Extract<SetType, { readonly kind: "map" }> & { readonly elements: readonly MapElement[] })
  /** Nothing that we would make. */
  | { readonly kind: "other" };

/** An element of a map: as text, to compare, and its key, to remove it. */
export interface MapElement {
  readonly text: string;
  readonly key: Uint8Array;
}

export interface ChainState {
  readonly base: DecodedChain["base"];
  /** Of its rules, in order; "" for a rule that is not ours. */
  readonly digests: readonly string[];
}

/** What each message does, and why, in the order of the messages: for the error of one of them too. */
class Steps {
  readonly all: NftStep[] = [];
  readonly #batch: MessageBatch;
  readonly #before: number;
  readonly #found: string | undefined;

  /** What was found as a whole, in place of what each step is for. */
  constructor(batch: MessageBatch, found?: string) {
    this.#batch = batch;
    this.#before = batch.count;
    this.#found = found;
  }

  add(done: string, found: string, write: (batch: MessageBatch) => void): void {
    write(this.#batch);
    while (this.all.length < this.#batch.count - this.#before) {
      this.all.push({ done, found: this.#found ?? found });
    }
  }
}

/** Writes what differs; gives what was written, one step for each message. */
export function writeDifference(
  batch: MessageBatch,
  desired: NftTable,
  found: TableState | undefined,
): readonly NftStep[] {
  const foreign = found && foreignSet(desired, found);
  if (foreign !== undefined) return writeAnew(batch, desired, `set ${foreign} of another type`);
  const steps = new Steps(batch, found === undefined ? "no table" : undefined);
  writeSteps(steps, desired, found);
  return steps.all;
}

/** As {@link writeDifference}, of a table that is there, whatever is in it; `found` says why. */
export function writeAnew(
  batch: MessageBatch,
  desired: NftTable,
  found: string,
): readonly NftStep[] {
  const steps = new Steps(batch, found);
  steps.add("remove the table", found, () => writeRemoveTable(batch, desired.name));
  writeSteps(steps, desired, undefined);
  return steps.all;
}

function writeSteps(steps: Steps, desired: NftTable, found: TableState | undefined): void {
  if (found === undefined) {
    steps.add("add the table", "no table", (batch) => writeNewTable(batch, desired.name));
  }
  const { flags, sets, chains } = found ?? { flags: [], sets: new Map(), chains: new Map() };
  if (flags.length > 0) {
    const of = flags.join(", ");
    steps.add(`clear flags ${of} of the table`, `a table with flags ${of}`, (batch) =>
      writeClearTableFlags(batch, desired.name),
    );
  }
  let id = 0;
  for (const set of desired.sets) {
    writeSet(steps, desired.name, { set, id: ++id }, sets.get(set.name));
  }
  for (const map of desired.maps) {
    writeMap(steps, desired.name, { map, id: ++id }, sets.get(map.name));
  }
  writeChains(steps, desired, chains);
  const wanted = new Set([...desired.sets, ...desired.maps].map(({ name }) => name));
  for (const name of sets.keys()) {
    if (!wanted.has(name)) {
      steps.add(`remove set ${name}`, `a set ${name}`, (batch) =>
        writeRemoveSet(batch, desired.name, name),
      );
    }
  }
}

/**
 * Writes all of a part of a table, whatever of it is there, and removes nothing but what else its
 * chains have. Fails where a map's key leads elsewhere. Nothing needs to be read before.
 */
export function writePart(batch: MessageBatch, part: NftTable): readonly NftStep[] {
  const steps = new Steps(batch, notRead);
  steps.add("add the table", notRead, () => writeNewTable(batch, part.name));
  let id = 0;
  for (const set of part.sets) writeSet(steps, part.name, { set, id: ++id }, undefined);
  for (const map of part.maps) writeMap(steps, part.name, { map, id: ++id }, undefined);
  for (const chain of part.chains) {
    steps.add(`add chain ${chain.name}`, notRead, () => writeNewChain(batch, part.name, chain));
    emptyChain(steps, part.name, chain.name, notRead);
    writeRules(steps, part.name, chain, notRead);
  }
  return steps.all;
}

const notRead = "a table that was not read";

/**
 * Writes the maps' elements, to add or to remove them; gives what each message is. One with a timeout that is
 * there begins it anew: before Linux 6.12 only another element does that, which takes its place within the
 * transaction, so that no packet misses it. It is added first because only what is there can be removed.
 */
export function writeMapElements(
  batch: MessageBatch,
  action: "add" | "remove",
  table: string,
  maps: readonly NftMap[],
): readonly NftStep[] {
  const steps = new Steps(batch, notRead);
  for (const map of maps) {
    const raw = map.elements.map(rawElement(map));
    const isRenewed = action === "add" && map.timeoutMs !== undefined;
    for (const each of isRenewed ? renewal : [action]) {
      steps.add(`${each} elements of map ${map.name}`, notRead, () =>
        writeElements(batch, each, { table, set: map.name }, raw),
      );
    }
  }
  return steps.all;
}

const renewal = ["add", "remove", "add"] as const;

export const rawElement =
  ({ key, value }: NftMapType) =>
  (element: NftMapElement): RawElement => ({
    key: encodeData(key, element.key),
    value: encodeData(value, element.value),
  });

/** A set or map of ours that is of another type: only without its rules could it be made anew. Its name. */
const foreignSet = ({ sets, maps }: NftTable, state: TableState): string | undefined => {
  const foreign = sets.find(({ name, family }) => {
    const found = state.sets.get(name);
    return found !== undefined && (found.kind !== "networks" || found.family !== family);
  });
  if (foreign !== undefined) return foreign.name;
  return maps.find(({ name, key, value, timeoutMs }) => {
    const found = state.sets.get(name);
    if (found === undefined) return false;
    if (found.kind !== "map" || found.timeoutMs !== timeoutMs) return true;
    return !isSameList(found.key, key) || !isSameList(found.value, value);
  })?.name;
};

function writeSet(
  steps: Steps,
  table: string,
  { set, id }: { readonly set: NftSet; readonly id: number },
  found: SetState | undefined,
): void {
  const { name, family, elements } = set;
  const isOfFamily = elements.every((element) => familyOf(element) === family);
  invariant(isOfFamily, `set ${name} has only IPv${family} elements`);
  const type = { kind: "networks", family } as const;
  if (found === undefined) {
    steps.add(`add set ${name}`, `no set ${name}`, (batch) =>
      writeNewSet(batch, table, { name, type, id }),
    );
  }
  const where = { table, set: name };
  const what = found === undefined ? `no set ${name}` : `other elements in set ${name}`;
  const wanted = intervalsOf(elements);
  const present = found?.kind === "networks" ? found.intervals : [];
  const elementsOf = (intervals: readonly Interval[]): readonly RawElement[] =>
    intervals.flatMap((interval) => boundariesOf(interval, family)).map(toElement(family));
  // Removals first: what comes may overlap what goes.
  steps.add(`remove elements of set ${name}`, what, (batch) =>
    writeElements(batch, "remove", where, elementsOf(without(present, wanted))),
  );
  steps.add(`add elements to set ${name}`, what, (batch) =>
    writeElements(batch, "add", where, elementsOf(without(wanted, present))),
  );
}

function writeMap(
  steps: Steps,
  table: string,
  { map, id }: { readonly map: NftMap; readonly id: number },
  found: SetState | undefined,
): void {
  const { name, elements } = map;
  const type = typeOf(map);
  if (found === undefined) {
    steps.add(`add map ${name}`, `no map ${name}`, (batch) =>
      writeNewSet(batch, table, { name, type, id }),
    );
  }
  // What has a timeout is another's to put, and the kernel's to remove.
  if (map.timeoutMs !== undefined && found !== undefined) return;
  const where = { table, set: name };
  const what = found === undefined ? `no map ${name}` : `other elements in map ${name}`;
  const wanted = new Set(elements.map(formatMapElement));
  const present = found?.kind === "map" ? found.elements : [];
  const isPresent = new Set(present.map(({ text }) => text));
  const removed = present.filter(({ text }) => !wanted.has(text));
  const added = elements.filter((element) => !isPresent.has(formatMapElement(element)));
  // Removals first: what comes may have the key of what goes.
  steps.add(`remove elements of map ${name}`, what, (batch) =>
    writeElements(
      batch,
      "remove",
      where,
      removed.map(({ key }) => ({ key })),
    ),
  );
  steps.add(`add elements to map ${name}`, what, (batch) =>
    writeElements(batch, "add", where, added.map(rawElement(map))),
  );
}

const typeOf = ({ key, value, timeoutMs }: NftMapType): SetType => ({
  kind: "map",
  key,
  value,
  ...(timeoutMs !== undefined && { timeoutMs }),
});

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
  const misplaced = new Map<string, string>();
  // All that differ are emptied before one is removed: a rule of one may jump to another.
  for (const [name, state] of found) {
    const chain = wanted.get(name);
    const isMisplaced = chain === undefined || !isSameBase(chain, state);
    const what = describeChain(name, chain, state);
    if (isMisplaced) misplaced.set(name, what);
    const isChanged = isMisplaced || !hasRules(state, chain);
    if (isChanged && state.digests.length > 0) emptyChain(steps, desired.name, name, what);
  }
  for (const [name, what] of misplaced) {
    steps.add(`remove chain ${name}`, what, (batch) => writeRemoveChain(batch, desired.name, name));
  }
  for (const chain of desired.chains) {
    const state = misplaced.has(chain.name) ? undefined : found.get(chain.name);
    if (state !== undefined && hasRules(state, chain)) continue;
    const what = describeChain(chain.name, chain, found.get(chain.name));
    if (state === undefined) {
      steps.add(`add chain ${chain.name}`, what, (batch) =>
        writeNewChain(batch, desired.name, chain),
      );
    }
    writeRules(steps, desired.name, chain, what);
  }
}

/** How a chain that differs was found. */
function describeChain(
  name: string,
  chain: NftChain | undefined,
  state: ChainState | undefined,
): string {
  if (state === undefined) return `no chain ${name}`;
  if (chain === undefined) return `a chain ${name}`;
  return isSameBase(chain, state)
    ? `other rules in chain ${name}`
    : `chain ${name} of another hook`;
}

const hasRules = ({ digests }: ChainState, { rules }: NftChain): boolean =>
  isSameList(digests, rules.map(nftRuleDigest));

function writeRules(steps: Steps, table: string, { name, rules }: NftChain, found: string): void {
  for (const rule of rules) {
    steps.add(`add rule "${rule.comment}" to chain ${name}`, found, (batch) =>
      writeNewRule(batch, table, name, rule),
    );
  }
}

const emptyChain = (steps: Steps, table: string, name: string, found: string): void =>
  steps.add(`empty chain ${name}`, found, (batch) => writeRemoveRules(batch, table, name));

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
