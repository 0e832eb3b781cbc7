// What the claims rest on: a small part of what etcd (transactions), Kubernetes (resourceVersion) and a
// directory of files can all do. Only writes are trusted; a read may come from a lagging replica.

export interface ClaimEntry {
  readonly key: string;
  readonly value: string;
  /** Of this key, opaque: changes with every write, and is never used again, also not after removal. */
  readonly revision: string;
}

export type WriteResult =
  | { readonly kind: "written"; readonly revision: string }
  /** The condition did not hold: nothing was changed. */
  | { readonly kind: "conflict" };

/**
 * Every method may reject: a read then has no answer, and a write may take effect all the same, also
 * later. A write takes effect as a whole, when its condition holds at that moment (linearizable). A
 * read gives what was true at some earlier moment, of every key at the same one or not.
 */
export interface ClaimStore {
  get(key: string, signal: AbortSignal): Promise<ClaimEntry | undefined>;
  /** Every key that starts so, sorted. */
  list(prefix: string, signal: AbortSignal): Promise<readonly ClaimEntry[]>;
  /** If the key is absent. */
  create(key: string, value: string, signal: AbortSignal): Promise<WriteResult>;
  /** If the key has this revision. */
  replace(entry: ClaimEntry, signal: AbortSignal): Promise<WriteResult>;
  /** If the key has this revision. The result's revision means nothing. */
  remove(key: string, revision: string, signal: AbortSignal): Promise<WriteResult>;
}
