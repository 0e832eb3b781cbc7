// Our nftables table over raw nfnetlink. A change is one transaction: all of it or nothing, and only
// what differs. nft(8) as a process costs 7 to 20 ms a call, and more with other programs' rules.
import type { Family } from "../core/address.ts";
import { KernelError, hasErrno } from "../core/error.ts";
import type { NftTable, ObservedNftTable } from "../core/nft.ts";
import { MessageBatch, batchOf } from "./message.ts";
import type { NetlinkSocket } from "./netlink.ts";
import { type TableState, writeDifference } from "./nft-difference.ts";
import { type Interval, intervalsFrom, networksOf } from "./nft-interval.ts";
import {
  decodeChain,
  decodeElements,
  decodeGeneration,
  decodeRule,
  decodeSet,
  writeBegin,
  writeEnd,
  writeGetChains,
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
    const sets = Array.from(state.sets, ([set, { family, intervals }]) => {
      const networks = intervals.flatMap((interval) =>
        family === undefined ? [] : networksOf(interval, family),
      );
      return [set, networks] as const;
    });
    const hooks = Array.from(state.chains).flatMap(([chain, { base }]) =>
      typeof base === "string" ? [] : [[chain, base] as const],
    );
    return {
      sets: new Map(sets),
      chains: new Map(Array.from(state.chains, ([chain, { digests }]) => [chain, digests])),
      hooks: new Map(hooks),
    };
  }

  apply(desired: NftTable): boolean {
    const operation = `apply the nftables table "${desired.name}"`;
    for (let attempt = 1; attempt <= attempts; attempt++) {
      const { state, generation } = this.#readUndisturbed(desired.name);
      const batch = new MessageBatch();
      writeBegin(batch, generation);
      const steps = writeDifference(batch, desired, state);
      if (steps.length === 0) return false;
      writeEnd(batch);
      const failure = this.#socket.transact(batch);
      if (failure === undefined) return true;
      if (failure.errno === "ERESTART") continue;
      // Message 0 is the transaction's begin.
      const step = steps[failure.index - 1];
      throw new KernelError(
        step === undefined ? operation : `${operation}: ${step}`,
        failure.errno,
        failure.kernelMessage,
      );
    }
    throw new KernelError(operation, "ERESTART", `disturbed ${attempts} times`);
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
    const exists = this.#socket.get(
      batchOf((batch) => writeGetTable(batch, name)),
      () => true,
    );
    if (exists !== true) return undefined;
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
      chains: new Map(
        chains.map(({ name: chain, base }) => {
          const own = rules.filter((rule) => rule.chain === chain);
          return [chain, { base, digests: own.map(({ digest }) => digest) }];
        }),
      ),
      sets: new Map(
        sets.map(({ name: set, family }) => [
          set,
          family === undefined
            ? { intervals: [] }
            : { family, intervals: this.#intervals(name, set, family) },
        ]),
      ),
    };
  }

  #intervals(table: string, set: string, family: Family): readonly Interval[] {
    const request = batchOf((batch) => writeGetElements(batch, table, set));
    return intervalsFrom(this.#socket.dump(request, decodeElements).flat(), family);
  }

  #generation(): number {
    return this.#socket.get(batchOf(writeGetGeneration), decodeGeneration) ?? 0;
  }
}
