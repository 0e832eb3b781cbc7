// What this node tells the others, kept in etcd as it is here: each object under a lease, so that it
// disappears with the node.
import type { EtcdClient } from "./client.ts";
import { type EtcdKeys, keyOfObject } from "./keys.ts";
import type { Write } from "./messages.ts";

export interface Publication {
  /** `Node node-a` → the object. */
  readonly objects: ReadonlyMap<string, object>;
  /** What they hang on. */
  readonly lease: bigint;
}

interface Published {
  readonly text: string;
  readonly lease: bigint;
}

/** etcd takes 128 in one transaction unless it is told otherwise. */
const writesAtOnce = 100;

export class Publisher {
  readonly #client: Pick<EtcdClient, "transact">;
  readonly #keys: EtcdKeys;
  /** By key: what is in etcd, as far as is known. */
  #published = new Map<string, Published>();

  constructor(client: Pick<EtcdClient, "transact">, keys: EtcdKeys) {
    this.#client = client;
    this.#keys = keys;
  }

  /** Everything is written again at the next publish(): nobody knows what is there. */
  forget(): void {
    this.#published = new Map();
  }

  /** Writes what is new and removes what is gone. May be called again after it has rejected. */
  async publish(publications: readonly Publication[], signal: AbortSignal): Promise<void> {
    const wanted = new Map<string, Published>();
    for (const { objects, lease } of publications) {
      for (const [object, value] of objects) {
        wanted.set(keyOfObject(object, this.#keys), { text: JSON.stringify(value), lease });
      }
    }
    const writes: Write[] = [];
    for (const [key, { text, lease }] of wanted) {
      const before = this.#published.get(key);
      if (before?.text === text && before.lease === lease) continue;
      writes.push({ kind: "put", key, value: text, lease });
    }
    for (const key of this.#published.keys()) {
      if (!wanted.has(key)) writes.push({ kind: "delete", key });
    }
    for (let at = 0; at < writes.length; at += writesAtOnce) {
      const some = writes.slice(at, at + writesAtOnce);
      await this.#client.transact([], some, signal);
      for (const { key } of some) {
        const published = wanted.get(key);
        if (published === undefined) this.#published.delete(key);
        else this.#published.set(key, published);
      }
    }
  }
}
