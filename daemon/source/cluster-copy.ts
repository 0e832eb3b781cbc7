// The cluster as this node last knew it, on its disk: a daemon that starts while the API is away serves by
// it. One Kubernetes object on each line between a first line, which says of which cluster and when, and
// a last one, without which the file is not whole.
import { mkdir, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import * as v from "valibot";
import type { Snapshot } from "../../core/cluster/model.ts";
import { readFileIfThere } from "../files/replace-file.ts";
import type { ClusterObject } from "./cluster-object.ts";
import { toManifest } from "./to-manifest.ts";

export interface ClusterCopy {
  /** RFC 3339. */
  readonly at: string;
  /** As manifests have them, each parsed when its turn comes. */
  readonly objects: Iterable<unknown>;
}

const headSchema = v.object({
  copyOf: v.string(),
  version: v.literal(1),
  at: v.pipe(v.string(), v.isoTimestamp()),
});
const endSchema = v.object({ end: v.number() });

/** So many objects are written in one go: the daemon has other things to do meanwhile. */
const batch = 200;

function* objectsOf(snapshot: Snapshot): Generator<ClusterObject, void> {
  for (const object of snapshot.nodes.values()) yield { kind: "Node", object };
  for (const object of snapshot.namespaces.values()) yield { kind: "Namespace", object };
  for (const object of snapshot.services.values()) yield { kind: "Service", object };
  for (const object of snapshot.endpointSlices.values()) yield { kind: "EndpointSlice", object };
  for (const object of snapshot.pods.values()) yield { kind: "Pod", object };
  for (const object of snapshot.attachments?.values() ?? []) yield { kind: "Attachment", object };
}

/** Whoever reads it meanwhile, or after a power cut, has this one or the one before, whole. */
export async function writeClusterCopy(
  path: string,
  snapshot: Snapshot,
  head: { readonly copyOf: string; readonly atMs: number },
): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o755 });
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    await using file = await open(temporary, "w", 0o600);
    const first = { copyOf: head.copyOf, version: 1, at: new Date(head.atMs).toISOString() };
    let lines = [JSON.stringify(first)];
    let count = 0;
    for (const value of objectsOf(snapshot)) {
      lines.push(JSON.stringify(toManifest(value)));
      if (++count % batch !== 0) continue;
      await file.write(`${lines.join("\n")}\n`);
      lines = [];
      await turn();
    }
    await file.write(`${[...lines, JSON.stringify({ end: count })].join("\n")}\n`);
    await file.sync();
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/** Undefined: there is none. Throws an error that says why one that is there is of no use. */
export function readClusterCopy(path: string, copyOf: string): ClusterCopy | undefined {
  const text = readFileIfThere(path);
  if (text === undefined) return undefined;
  const [first = "", ...rest] = text.trimEnd().split("\n");
  const last = rest.pop() ?? "";
  const head = v.safeParse(headSchema, parse(first));
  const end = v.safeParse(endSchema, parse(last));
  if (!head.success || !end.success || end.output.end !== rest.length) {
    throw new Error(`Cannot use the cluster's copy ${path}: it is not whole`);
  }
  if (head.output.copyOf !== copyOf) {
    throw new Error(
      `Cannot use the cluster's copy ${path}: it is of ${head.output.copyOf}: expected ${copyOf}`,
    );
  }
  return { at: head.output.at, objects: rest.values().map(parse) };
}

function parse(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
