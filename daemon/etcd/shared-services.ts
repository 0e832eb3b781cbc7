// Services of which several nodes have endpoints: the first of them makes the Service, the last takes it
// away. Without a lease: it is not one node's.
import type { EtcdClient } from "./client.ts";
import { type EtcdKeys, keyOfObject } from "./keys.ts";
import {
  headlessService,
  type PublishedService,
  publishedAnnotation,
  slicesOf,
} from "./service-file.ts";
import { objectKeyOf } from "../source/cluster-object.ts";

type Name = Pick<PublishedService, "namespace" | "name">;
type Client = Pick<EtcdClient, "get" | "pages" | "transact">;

export class SharedServices {
  readonly #client: Client;
  readonly #keys: EtcdKeys;
  /** By key: those that were made sure of. */
  #known = new Map<string, Name>();

  constructor(client: Client, keys: EtcdKeys) {
    this.#client = client;
    this.#keys = keys;
  }

  /** Nobody knows what is there: all is looked at again. */
  forget(): void {
    this.#known = new Map();
  }

  /** Call when this node's endpoints are published, also those that it has no more. */
  async settle(services: readonly PublishedService[], signal: AbortSignal): Promise<void> {
    const wanted = new Map(services.map((service) => [this.#keyOf(service), service]));
    for (const [key, service] of wanted) {
      if (this.#known.has(key)) continue;
      const value = JSON.stringify(headlessService(service));
      await this.#client.transact(
        [{ key, modRevision: 0n }],
        [{ kind: "put", key, value }],
        signal,
      );
      this.#known.set(key, service);
    }
    for (const [key, name] of this.#known) {
      if (wanted.has(key)) continue;
      await this.#leave(key, name, signal);
      this.#known.delete(key);
    }
  }

  async #leave(key: string, { namespace, name }: Name, signal: AbortSignal): Promise<void> {
    const entry = await this.#client.get(key, signal);
    // An operator's own Service stays.
    if (entry?.value.includes(`"${publishedAnnotation}"`) !== true) return;
    const slices = keyOfObject(
      objectKeyOf("EndpointSlice", { namespace, name: slicesOf(name) }),
      this.#keys,
    );
    for await (const page of this.#client.pages(slices, signal)) {
      if (page.entries.length > 0) return;
    }
    const { modRevision } = entry;
    await this.#client.transact([{ key, modRevision }], [{ kind: "delete", key }], signal);
  }

  #keyOf({ namespace, name }: Name): string {
    return keyOfObject(objectKeyOf("Service", { namespace, name }), this.#keys);
  }
}
