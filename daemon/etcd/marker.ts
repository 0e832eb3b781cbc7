// Whose prefix it is: the first node writes it, every other compares. Two clusters on one prefix would
// take each other's nodes for their own.
import { isDeepStrictEqual } from "node:util";
import * as v from "valibot";
import type { EtcdClient } from "./client.ts";
import type { EtcdKeys } from "./keys.ts";

/** What all nodes of a cluster have in common; a node that differs in it reaches no other. */
export interface ClusterTraits {
  readonly network: string;
  readonly podCIDRs: readonly string[];
  readonly vni: number;
  readonly port: number;
}

const markerSchema = v.object({
  version: v.literal(1),
  /** Of this one cluster: another after etcd was made anew. */
  id: v.string(),
  traits: v.object({
    network: v.string(),
    podCIDRs: v.array(v.string()),
    vni: v.number(),
    port: v.number(),
  }),
});

export interface MarkerOptions {
  readonly client: Pick<EtcdClient, "get" | "transact">;
  readonly keys: EtcdKeys;
  readonly traits: ClusterTraits;
  /** The cluster's id as this node knows it, or a new one. */
  readonly id: string;
  /** Whether the id is one that this node was told. */
  readonly isKnown: boolean;
}

/** A prefix that is not this cluster's; nothing may be read from it or written to it. */
export class ForeignPrefixError extends Error {
  override readonly name = "ForeignPrefixError";
}

/**
 * Resolves with the cluster's id. Where nobody has marked the prefix, this does, also where etcd has lost
 * what it had: then the nodes tell it all again.
 */
export async function checkMarker(options: MarkerOptions, signal: AbortSignal): Promise<string> {
  const { client, keys, traits, id } = options;
  const key = keys.marker;
  const value = JSON.stringify({ version: 1, id, traits });
  const entry = await client.get(key, signal);
  if (entry !== undefined) return compare(entry.value, options);
  const { isDone } = await client.transact(
    [{ key, modRevision: 0n }],
    [{ kind: "put", key, value }],
    signal,
  );
  if (isDone) return id;
  const other = await client.get(key, signal);
  return other === undefined ? id : compare(other.value, options);
}

/** As {@link checkMarker}, without a write: also throws where a cluster that this node knows has left no mark. */
export async function lookAtMarker(
  options: Omit<MarkerOptions, "client"> & { readonly client: Pick<EtcdClient, "get"> },
  signal: AbortSignal,
): Promise<void> {
  const { client, keys, id, isKnown } = options;
  const entry = await client.get(keys.marker, signal);
  if (entry !== undefined) compare(entry.value, options);
  else if (isKnown) {
    throw new ForeignPrefixError(
      `Cannot find cluster ${id}, of which this node is one, at ${keys.marker}: check cluster.etcd.endpoints and cluster.etcd.prefix`,
    );
  }
}

function compare(
  text: string,
  { keys, traits, id, isKnown }: Omit<MarkerOptions, "client">,
): string {
  const found = read(text, keys.marker);
  for (const name of ["network", "podCIDRs", "vni", "port"] as const) {
    if (isDeepStrictEqual(found.traits[name], traits[name])) continue;
    throw new ForeignPrefixError(
      `Cannot use what is at ${keys.marker}: it is a cluster's whose ${name} is ` +
        `${JSON.stringify(found.traits[name])}, and this node's is ${JSON.stringify(traits[name])}; ` +
        `give each cluster a prefix of its own (cluster.etcd.prefix), and its nodes the same configuration`,
    );
  }
  if (isKnown && found.id !== id) {
    throw new ForeignPrefixError(
      `Cannot use what is at ${keys.marker}: it is cluster ${found.id}'s, and this node is one of cluster ${id}; ` +
        `if it is to join the other, remove /var/lib/fairlead/etcd-cluster and start the daemon again`,
    );
  }
  return found.id;
}

function read(text: string, key: string): v.InferOutput<typeof markerSchema> {
  try {
    return v.parse(markerSchema, JSON.parse(text));
  } catch {
    throw new ForeignPrefixError(
      `Cannot read what is at ${key}: expected a cluster's mark of this version of fairlead`,
    );
  }
}
