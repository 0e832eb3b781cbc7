// Our nftables table over raw nfnetlink. A change is one transaction: all of it or nothing, and only
// what differs. nft(8) as a process costs 7 to 20 ms a call, and more with other programs' rules.
import { KernelError, hasErrno } from "../core/error.ts";
import {
  type NftMap,
  type NftMapElement,
  type NftMapType,
  type NftTable,
  type ObservedNftTable,
  formatMapElement,
} from "../core/nft.ts";
import { type NftStep, formatNftSteps } from "../core/nft-step.ts";
import { MessageBatch, batchOf } from "./message.ts";
import type { MessageFailure, NetlinkSocket } from "./netlink.ts";
import {
  type MapElement,
  type SetState,
  type TableState,
  rawElement,
  writeAnew,
  writeDifference,
  writeMapElements,
  writePart,
} from "./nft-difference.ts";
import { fromElement, intervalsFrom, networksOf } from "./nft-interval.ts";
import { decodeElement } from "./nft-map.ts";
import {
  type RawElement,
  type SetType,
  decodeChain,
  decodeElements,
  decodeGeneration,
  decodeRule,
  decodeSet,
  decodeTableFlags,
  writeBegin,
  writeEnd,
  writeGetChains,
  writeGetElement,
  writeGetElements,
  writeGetGeneration,
  writeGetRules,
  writeGetSets,
  writeGetTable,
  writeRemoveTable,
} from "./nft-message.ts";

/** Somebody else's change between two reads, or before our transaction, costs an attempt. */
const attempts = 16;

export class NftTables {
  readonly #socket: NetlinkSocket;

  /** A socket of the netfilter protocol, which stays the caller's. */
  constructor(socket: NetlinkSocket) {
    this.#socket = socket;
  }

  observe(name: string): ObservedNftTable | undefined {
    const { state } = this.#readUndisturbed(name);
    if (state === undefined) return undefined;
    const sets = Array.from(state.sets).flatMap(([set, found]) => {
      if (found.kind === "map") return [];
      const intervals = found.kind === "networks" ? found.intervals : [];
      const networks = intervals.flatMap((interval) =>
        found.kind === "networks" ? networksOf(interval, found.family) : [],
      );
      return [[set, networks] as const];
    });
    const maps = Array.from(state.sets).flatMap(([map, found]) =>
      found.kind === "map" ? [[map, lastingElements(found)] as const] : [],
    );
    const hooks = Array.from(state.chains).flatMap(([chain, { base }]) =>
      typeof base === "string" ? [] : [[chain, base] as const],
    );
    return {
      flags: state.flags,
      sets: new Map(sets),
      maps: new Map(maps),
      chains: new Map(Array.from(state.chains, ([chain, { digests }]) => [chain, digests])),
      hooks: new Map(hooks),
    };
  }

  apply(desired: NftTable): readonly NftStep[] {
    const operation = `apply the nftables table "${desired.name}"`;
    /** What was found, once it is known that it cannot be changed in place. */
    let found: string | undefined;
    for (let attempt = 1; attempt <= attempts; attempt++) {
      const { state, generation } = this.#readUndisturbed(desired.name);
      const batch = new MessageBatch();
      writeBegin(batch, generation);
      const steps =
        found !== undefined && state !== undefined
          ? writeAnew(batch, desired, found)
          : writeDifference(batch, desired, state);
      if (steps.length === 0) return [];
      writeEnd(batch);
      const failure = this.#socket.transact(batch);
      if (failure === undefined) return steps;
      if (failure.errno === "ERESTART") continue;
      if (state?.flags.includes("owner") === true) {
        throw new KernelError(
          operation,
          failure.errno,
          "the program that made it owns it, and runs",
        );
      }
      if (found !== undefined || state === undefined) throw failed(operation, steps, failure);
      // What is used where we do not look stands in the way: a chain by a rule that still jumps to it under
      // its new name, or by a map's verdict.
      ({ found } = formatNftSteps(steps));
    }
    throw new KernelError(operation, "ERESTART", `disturbed ${attempts} times`);
  }

  putElements(part: NftTable): void {
    const operation = `put elements into the nftables table "${part.name}"`;
    const write = (elements: (batch: MessageBatch) => readonly NftStep[]): void =>
      this.#transact(operation, elements);
    try {
      write((batch) => writeMapElements(batch, "add", part.name, part.maps));
    } catch (thrown) {
      if (!hasErrno(thrown, "ENOENT")) throw thrown;
      write((batch) => writePart(batch, part));
    }
  }

  missingElements(name: string, maps: readonly NftMap[]): readonly NftMap[] {
    return withElements(maps, (map, element) => !this.#hasElement(name, map, element));
  }

  removeElements(name: string, maps: readonly NftMap[]): void {
    const present = withElements(maps, (map, element) => this.#hasElement(name, map, element));
    if (present.length === 0) return;
    const operation = `remove elements of the nftables table "${name}"`;
    try {
      this.#transact(operation, (batch) => writeMapElements(batch, "remove", name, present));
    } catch (thrown) {
      // Somebody removed one, or all of the table, in between: the others are still to go.
      if (!hasErrno(thrown, "ENOENT")) throw thrown;
      for (const map of present.flatMap(singly)) this.#removeElement(operation, name, map);
    }
  }

  #removeElement(operation: string, table: string, map: NftMap): void {
    try {
      this.#transact(operation, (batch) => writeMapElements(batch, "remove", table, [map]));
    } catch (thrown) {
      if (!hasErrno(thrown, "ENOENT")) throw thrown;
    }
  }

  #hasElement(table: string, map: NftMap, element: NftMapElement): boolean {
    const { key, value } = rawElement(map)(element);
    const found = this.#socket.get(
      batchOf((batch) => writeGetElement(batch, { table, set: map.name }, key)),
      (message) => decodeElements(message)[0],
    );
    return found !== undefined && Buffer.from(value ?? []).equals(found.value ?? Buffer.alloc(0));
  }

  #transact(operation: string, write: (batch: MessageBatch) => readonly NftStep[]): void {
    const batch = new MessageBatch();
    writeBegin(batch, undefined);
    const steps = write(batch);
    writeEnd(batch);
    if (steps.length === 0) return;
    const failure = this.#socket.transact(batch);
    if (failure !== undefined) throw failed(operation, steps, failure);
  }

  remove(name: string): void {
    const batch = batchOf((batch) => {
      writeBegin(batch, undefined);
      writeRemoveTable(batch, name);
      writeEnd(batch);
    });
    const failure = this.#socket.transact(batch);
    if (failure === undefined || failure.errno === "ENOENT") return;
    const operation = `remove the nftables table "${name}"`;
    throw new KernelError(operation, failure.errno, failure.kernelMessage);
  }

  /** The table within one generation of the ruleset: several dumps that belong together. */
  #readUndisturbed(name: string): {
    readonly state: TableState | undefined;
    readonly generation: number;
  } {
    for (let attempt = 1; attempt <= attempts; attempt++) {
      const generation = this.#generation();
      let state: TableState | undefined;
      try {
        state = this.#read(name);
      } catch (thrown) {
        // A set that went away between its listing and its reading.
        if (!hasErrno(thrown, "ENOENT")) throw thrown;
        continue;
      }
      if (this.#generation() === generation) return { state, generation };
    }
    throw new KernelError(`read the nftables table "${name}"`, "EINTR");
  }

  #read(name: string): TableState | undefined {
    const flags = this.#socket.get(
      batchOf((batch) => writeGetTable(batch, name)),
      decodeTableFlags,
    );
    if (flags === undefined) return undefined;
    const rules = this.#socket.dump(
      batchOf((batch) => writeGetRules(batch, name)),
      decodeRule(name),
    );
    const chains = this.#socket.dump(batchOf(writeGetChains), decodeChain(name));
    const sets = this.#socket.dump(
      batchOf((batch) => writeGetSets(batch, name)),
      decodeSet(name),
    );
    return {
      flags,
      chains: new Map(
        chains.map(({ name: chain, base }) => {
          const own = rules.filter((rule) => rule.chain === chain);
          return [chain, { base, digests: own.map(({ digest }) => digest) }];
        }),
      ),
      sets: new Map(
        sets.map(({ name: set, type }) => [set, this.#setState({ table: name, set }, type)]),
      ),
    };
  }

  #setState({ table, set }: { table: string; set: string }, type: SetType | undefined): SetState {
    if (type === undefined) return { kind: "other" };
    const request = batchOf((batch) => writeGetElements(batch, table, set));
    const elements = this.#socket.dump(request, decodeElements).flat();
    if (type.kind === "networks") {
      return { ...type, intervals: intervalsFrom(elements.map(fromElement), type.family) };
    }
    return { ...type, elements: elements.map(mapElement(type)) };
  }

  #generation(): number {
    return this.#socket.get(batchOf(writeGetGeneration), decodeGeneration) ?? 0;
  }
}

/** As text; none of a map whose elements come and go by themselves. */
const lastingElements = ({
  elements,
  timeoutMs,
}: Extract<SetState, { readonly kind: "map" }>): readonly string[] =>
  timeoutMs === undefined ? elements.map(({ text }) => text).sort() : [];

const mapElement =
  (type: NftMapType) =>
  ({ key, value }: RawElement): MapElement => {
    const element = decodeElement(type, key, value);
    // Nothing that we desire is equal to it, so it goes.
    const hex = `0x${Buffer.from(key).toString("hex")}`;
    return { key, text: element === undefined ? hex : formatMapElement(element) };
  };

/** The maps with those of their elements that pass; without maps that keep none. */
const withElements = (
  maps: readonly NftMap[],
  isWanted: (map: NftMap, element: NftMapElement) => boolean,
): readonly NftMap[] =>
  maps.flatMap((map) => {
    const elements = map.elements.filter((element) => isWanted(map, element));
    return elements.length === 0 ? [] : [{ ...map, elements }];
  });

const singly = (map: NftMap): readonly NftMap[] =>
  map.elements.map((element) => ({ ...map, elements: [element] }));

/** Message 0 of a transaction is its begin; the others are the steps. */
function failed(
  operation: string,
  steps: readonly NftStep[],
  { index, errno, kernelMessage }: MessageFailure,
): KernelError {
  const step = steps[index - 1];
  const what = step === undefined ? operation : `${operation}: ${step.done}`;
  // Of a map's key that leads elsewhere older kernels say that it is busy.
  return new KernelError(what, errno === "EBUSY" ? "EEXIST" : errno, kernelMessage);
}
