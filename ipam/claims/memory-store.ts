import type { ClaimEntry, ClaimStore, WriteResult } from "./store.ts";

/** The contract in a map: what the explorer of the protocol and tests work with. */
export class ClaimMap {
  readonly #entries = new Map<string, ClaimEntry>();
  #writes = 0;

  get(key: string): ClaimEntry | undefined {
    return this.#entries.get(key);
  }

  list(prefix: string): readonly ClaimEntry[] {
    return [...this.#entries.values()]
      .filter(({ key }) => key.startsWith(prefix))
      .sort((a, b) => (a.key < b.key ? -1 : 1));
  }

  create(key: string, value: string): WriteResult {
    return this.#entries.has(key) ? { kind: "conflict" } : this.#put(key, value);
  }

  replace({ key, value, revision }: ClaimEntry): WriteResult {
    const isAt = this.#entries.get(key)?.revision === revision;
    return isAt ? this.#put(key, value) : { kind: "conflict" };
  }

  remove(key: string, revision: string): WriteResult {
    if (this.#entries.get(key)?.revision !== revision) return { kind: "conflict" };
    this.#entries.delete(key);
    return { kind: "written", revision: String(++this.#writes) };
  }

  #put(key: string, value: string): WriteResult {
    const revision = String(++this.#writes);
    this.#entries.set(key, { key, value, revision });
    return { kind: "written", revision };
  }
}

/** A store for one process. */
export function memoryStore(map = new ClaimMap()): ClaimStore {
  return {
    get: async (key) => map.get(key),
    list: async (prefix) => map.list(prefix),
    create: async (key, value) => map.create(key, value),
    replace: async (entry) => map.replace(entry),
    remove: async (key, revision) => map.remove(key, revision),
  };
}
