// Claims of blocks in etcd: a claim's revision is its key's mod_revision, which etcd gives to one write of
// the whole store and never again.
import type { ClaimEntry, ClaimStore, WriteResult } from "../../ipam/claims/store.ts";
import type { EtcdClient } from "./client.ts";
import type { Condition, KeyValue, Write } from "./messages.ts";

/** @param prefix of all keys, as `/fairlead/claims/`. */
export const openEtcdClaims = (client: EtcdClient, prefix: string): ClaimStore =>
  new EtcdClaims(client, prefix);

class EtcdClaims implements ClaimStore {
  readonly #client: EtcdClient;
  readonly #prefix: string;

  constructor(client: EtcdClient, prefix: string) {
    this.#client = client;
    this.#prefix = prefix;
  }

  async get(key: string, signal: AbortSignal): Promise<ClaimEntry | undefined> {
    const found = await this.#client.get(this.#prefix + key, signal);
    return found && this.#entryOf(found);
  }

  async list(prefix: string, signal: AbortSignal): Promise<readonly ClaimEntry[]> {
    const entries: ClaimEntry[] = [];
    for await (const page of this.#client.pages(this.#prefix + prefix, signal)) {
      for (const entry of page.entries) entries.push(this.#entryOf(entry));
    }
    return entries;
  }

  create(key: string, value: string, signal: AbortSignal): Promise<WriteResult> {
    return this.#write(key, 0n, { value }, signal);
  }

  async replace({ key, value, revision }: ClaimEntry, signal: AbortSignal): Promise<WriteResult> {
    const at = revisionOf(revision);
    return at === undefined ? { kind: "conflict" } : this.#write(key, at, { value }, signal);
  }

  async remove(key: string, revision: string, signal: AbortSignal): Promise<WriteResult> {
    const at = revisionOf(revision);
    return at === undefined ? { kind: "conflict" } : this.#write(key, at, {}, signal);
  }

  async #write(
    name: string,
    modRevision: bigint,
    { value }: { readonly value?: string },
    signal: AbortSignal,
  ): Promise<WriteResult> {
    const key = this.#prefix + name;
    const condition: Condition = { key, modRevision };
    const write: Write =
      value === undefined ? { kind: "delete", key } : { kind: "put", key, value };
    const { isDone, header } = await this.#client.transact([condition], [write], signal);
    return isDone ? { kind: "written", revision: String(header.revision) } : { kind: "conflict" };
  }

  #entryOf({ key, value, modRevision }: KeyValue): ClaimEntry {
    return { key: key.slice(this.#prefix.length), value, revision: String(modRevision) };
  }
}

/** Undefined for what is no revision of a key that is there. */
const revisionOf = (text: string): bigint | undefined =>
  /^[1-9]\d{0,18}$/.test(text) ? BigInt(text) : undefined;
