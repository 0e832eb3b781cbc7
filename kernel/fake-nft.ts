// nftables in memory: the tables as they would be observed.
import { isDeepStrictEqual } from "node:util";
import { KernelError } from "../core/error.ts";
import {
  type NftMap,
  type NftMapElement,
  type NftTable,
  type ObservedNftTable,
  asObserved,
  formatMapElement,
} from "../core/nft.ts";
import type { NftStep } from "../core/nft-step.ts";

export class FakeNftTables {
  readonly #tables = new Map<string, ObservedNftTable>();
  /** Elements with a timeout, by table, map and element: until when (performance.now) they are there. */
  readonly #lasting = new Map<string, number>();

  observe(name: string): ObservedNftTable | undefined {
    return this.#tables.get(name);
  }

  apply(desired: NftTable): readonly NftStep[] {
    const wanted = asObserved(desired);
    const there = this.#tables.get(desired.name);
    if (isDeepStrictEqual(there, wanted)) return [];
    this.#tables.set(desired.name, wanted);
    return [{ done: "put the table", found: there === undefined ? "no table" : "another table" }];
  }

  remove(name: string): void {
    this.#tables.delete(name);
  }

  putElements(part: NftTable): void {
    const found = this.#tables.get(part.name);
    const isWhole = found !== undefined && part.maps.every(({ name }) => found.maps.has(name));
    const base = isWhole ? found : merged(found, part);
    const maps = new Map(base.maps);
    for (const map of part.maps) {
      const { timeoutMs } = map;
      if (timeoutMs !== undefined) {
        const untilMs = performance.now() + timeoutMs;
        for (const key of lastingKeys(part.name, map)) this.#lasting.set(key, untilMs);
        continue;
      }
      const elements = new Map(maps.get(map.name)?.map((line) => [keyOf(line), line]));
      for (const line of map.elements.map(formatMapElement)) {
        const there = elements.get(keyOf(line));
        if (there !== undefined && there !== line) {
          throw new KernelError(
            `put elements into the nftables table "${part.name}": add elements of map ${map.name}`,
            "EEXIST",
          );
        }
        elements.set(keyOf(line), line);
      }
      maps.set(map.name, [...elements.values()].sort());
    }
    this.#tables.set(part.name, { ...base, maps });
  }

  missingElements(name: string, maps: readonly NftMap[]): readonly NftMap[] {
    const found = this.#tables.get(name);
    return maps.flatMap((map) => {
      const there = new Set(found === undefined ? [] : linesOf(found, map.name));
      const isThere = (element: NftMapElement): boolean =>
        map.timeoutMs === undefined
          ? there.has(formatMapElement(element))
          : (this.#lasting.get(lastingKey(name, map, element)) ?? 0) > performance.now();
      const elements = map.elements.filter((element) => !isThere(element));
      return elements.length === 0 ? [] : [{ ...map, elements }];
    });
  }

  removeElements(name: string, maps: readonly NftMap[]): void {
    const found = this.#tables.get(name);
    if (found === undefined) return;
    const left = new Map(found.maps);
    for (const map of maps) {
      for (const key of lastingKeys(name, map)) this.#lasting.delete(key);
      const removed = new Set(map.elements.map(formatMapElement));
      const lines = left.get(map.name)?.filter((line) => !removed.has(line));
      if (lines !== undefined) left.set(map.name, lines);
    }
    this.#tables.set(name, { ...found, maps: left });
  }
}

const lastingKey = (table: string, map: NftMap, element: NftMapElement): string =>
  [table, map.name, formatMapElement(element)].join(" ");

const lastingKeys = (table: string, map: NftMap): readonly string[] =>
  map.elements.map((element) => lastingKey(table, map, element));

const linesOf = (table: ObservedNftTable, map: string): readonly string[] =>
  table.maps.get(map) ?? [];

const keyOf = (line: string): string => line.split(" : ", 1)[0] ?? line;

/** The table with what of the part it lacks; its maps keep their elements, and get none yet. */
function merged(found: ObservedNftTable | undefined, part: NftTable): ObservedNftTable {
  const { flags, sets, maps, chains, hooks } = asObserved(part);
  const emptied = Array.from(maps.keys(), (name) => [name, []] as const);
  return {
    flags,
    sets: new Map([...(found?.sets ?? []), ...sets]),
    maps: new Map([...emptied, ...(found?.maps ?? [])]),
    chains: new Map([...(found?.chains ?? []), ...chains]),
    hooks: new Map([...(found?.hooks ?? []), ...hooks]),
  };
}
