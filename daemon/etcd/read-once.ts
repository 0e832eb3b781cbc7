import type { Snapshot } from "../../core/cluster/model.ts";
import { ObjectSet } from "../source/object-set.ts";
import type { EtcdClient } from "./client.ts";
import { keysUnder, objectAt } from "./keys.ts";

export interface ReadCluster {
  readonly snapshot: Snapshot;
  /** Objects that cannot be used. */
  readonly problems: readonly string[];
}

/** The cluster as it is now, for a command that looks and ends. */
export async function readEtcdOnce(
  client: EtcdClient,
  prefix: string,
  signal: AbortSignal,
): Promise<ReadCluster> {
  const keys = keysUnder(prefix);
  const objects = new ObjectSet();
  for await (const page of client.pages(keys.objects, signal)) {
    for (const { key, value } of page.entries) {
      const object = objectAt(key, keys);
      if (object !== undefined) objects.put(object, parseJson(value));
    }
  }
  return { snapshot: objects.snapshot(1, true), problems: objects.problems };
}

/** Undefined for what is no JSON. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
