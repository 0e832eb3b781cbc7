// Services of which several nodes have endpoints: the first of them makes the Service, the last takes it
// away. Without a lease: it is not one node's.
import type { EtcdClient } from "./client.ts";
import { type EtcdKeys, keyOfObject } from "./keys.ts";
import {
  headlessService,
  type PublishedService,
  publishedAnnotation,
  sliceKeys,
  slicesOf,
} from "./service-file.ts";
import { objectKeyOf } from "../source/cluster-object.ts";

export type ServiceName = Pick<PublishedService, "namespace" | "name">;
type Client = Pick<EtcdClient, "get" | "pages" | "transact">;

export class SharedServices {
  readonly #client: Client;
  readonly #keys: EtcdKeys;
  /** By key: those that this node has endpoints of. */
  readonly #known = new Map<string, ServiceName>();
  /** Keys of those of which nothing has happened since. */
  readonly #sure = new Set<string>();

  constructor(client: Client, keys: EtcdKeys) {
    this.#client = client;
    this.#keys = keys;
  }

  /** Nobody knows what is there: all is looked at again. */
  doubt(): void {
    this.#sure.clear();
  }

  /** Call when this node's endpoints are published, also those that it has no more. */
  async settle(services: readonly PublishedService[], signal: AbortSignal): Promise<void> {
    const wanted = new Map(services.map((service) => [this.#keyOf(service), service]));
    for (const [key, service] of wanted) {
      if (this.#sure.has(key)) continue;
      const value = JSON.stringify(headlessService(service));
      await this.#client.transact(
        [{ key, modRevision: 0n }],
        [{ kind: "put", key, value }],
        signal,
      );
      this.#known.set(key, service);
      this.#sure.add(key);
    }
    for (const [key, name] of this.#known) {
      if (wanted.has(key)) continue;
      await removeIfEmpty(this.#client, this.#keys, name, signal);
      this.#known.delete(key);
      this.#sure.delete(key);
    }
  }

  #keyOf(name: ServiceName): string {
    return serviceKey(this.#keys, name);
  }
}

const serviceKey = (keys: EtcdKeys, { namespace, name }: ServiceName): string =>
  keyOfObject(objectKeyOf("Service", { namespace, name }), keys);

/**
 * Takes a published Service away that no node has endpoints of: in one transaction, for a node that comes with
 * some makes the Service after them. An operator's own Service stays.
 */
export async function removeIfEmpty(
  client: Pick<Client, "get" | "transact">,
  keys: EtcdKeys,
  service: ServiceName,
  signal: AbortSignal,
): Promise<boolean> {
  const key = serviceKey(keys, service);
  const entry = await client.get(key, signal);
  if (entry === undefined || !isPublished(entry.value)) return false;
  const { namespace, name } = service;
  const slices = keyOfObject(
    objectKeyOf("EndpointSlice", { namespace, name: slicesOf(name) }),
    keys,
  );
  const { isDone } = await client.transact(
    [
      { key, modRevision: entry.modRevision },
      { key: slices, modRevision: 0n, isPrefix: true },
    ],
    [{ kind: "delete", key }],
    signal,
  );
  return isDone;
}

const isPublished = (value: string): boolean => value.includes(`"${publishedAnnotation}"`);

/** What a node's own daemon does when the service is withdrawn, for a node whose daemon does not run. */
export async function withdrawFromEtcd(
  client: Client,
  { keys, nodeName }: { readonly keys: EtcdKeys; readonly nodeName: string },
  service: ServiceName,
  signal: AbortSignal,
): Promise<void> {
  const slices = sliceKeys(service, nodeName).map((object) => keyOfObject(object, keys));
  await client.transact(
    [],
    slices.map((key) => ({ kind: "delete", key }) as const),
    signal,
  );
  await removeIfEmpty(client, keys, service, signal);
}

/** Published Services without endpoints, whose nodes died before they could withdraw them. Gives what it removed. */
export async function removeEmptyServices(
  client: Client,
  keys: EtcdKeys,
  signal: AbortSignal,
): Promise<readonly ServiceName[]> {
  const removed: ServiceName[] = [];
  const prefix = `${keys.objects}Service/`;
  for await (const { entries } of client.pages(prefix, signal)) {
    for (const { key, value } of entries) {
      const [namespace, name, ...rest] = key.slice(prefix.length).split("/");
      if (!isPublished(value) || namespace === undefined || name === undefined) continue;
      if (rest.length > 0) continue;
      const service = { namespace, name };
      if (await removeIfEmpty(client, keys, service, signal)) removed.push(service);
    }
  }
  return removed;
}
