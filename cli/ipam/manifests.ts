// The Node manifests of a directory, to be changed.
import { chownSync, readFileSync, realpathSync, statSync } from "node:fs";
import type { Cidr } from "../../core/address.ts";
import type { Node } from "../../core/cluster/model.ts";
import { ConfigError } from "../../core/error.ts";
import { replaceFile } from "../../daemon/files/replace-file.ts";
import { listManifests } from "../../daemon/source/list-manifests.ts";
import { parseManifest } from "../../daemon/source/manifest.ts";
import { writePodCidrs } from "./edit-manifest.ts";

export interface NodeManifest {
  readonly path: string;
  readonly node: Node;
}

/** Every Node, in the order of the files. Throws ConfigError for a file that the daemon would refuse. */
export function readNodes(directory: string): readonly NodeManifest[] {
  const found = new Map<string, NodeManifest>();
  for (const path of filesIn(directory)) {
    for (const node of nodesOf(path, readFileSync(path, "utf8"))) {
      const first = found.get(node.name);
      if (first !== undefined) {
        throw new ConfigError(path, `Cannot use Node ${node.name}: it is also in ${first.path}`);
      }
      found.set(node.name, { path, node });
    }
  }
  return [...found.values()];
}

function filesIn(directory: string): readonly string[] {
  try {
    return listManifests(directory).files;
  } catch (cause) {
    throw new ConfigError(directory, "Cannot read the directory of the manifests", { cause });
  }
}

function nodesOf(path: string, text: string): readonly Node[] {
  const manifest = parseManifest(text);
  if (manifest.kind === "invalid") {
    const [first] = manifest.problems;
    throw new ConfigError(`${path}:${first?.line ?? 1}`, first?.message ?? "Cannot parse it");
  }
  return manifest.objects.flatMap(({ value }) => (value.kind === "Node" ? [value.object] : []));
}

/** Adds pod CIDRs to Nodes of one file, which a reader sees with all of them or with none. */
export function addPodCidrs(path: string, added: ReadonlyMap<string, readonly Cidr[]>): void {
  // A link stays one: what it leads to is replaced.
  const target = realpathSync(path);
  const before = readFileSync(target, "utf8");
  const wanted = nodesOf(path, before).flatMap(({ name, podCidrs }) => {
    const more = added.get(name);
    return more === undefined ? [] : [[name, [...podCidrs, ...more]] as const];
  });
  const text = writePodCidrs(before, new Map(wanted));
  // The daemon would refuse the whole file.
  nodesOf(path, text);
  const { mode, uid, gid } = statSync(target);
  replaceFile(target, text, mode & 0o777);
  chownSync(target, uid, gid);
}

/** A manifest for a Node that has none. */
export const formatNode = ({ name, addresses, podCidrs }: Node): string => `apiVersion: v1
kind: Node
metadata:
  name: ${JSON.stringify(name)}
spec:
  podCIDRs: ${JSON.stringify(podCidrs).replaceAll(",", ", ")}
status:
  addresses:
${addresses.map((address) => `    - { type: InternalIP, address: ${JSON.stringify(address)} }\n`).join("")}`;
