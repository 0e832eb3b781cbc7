import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Node } from "../../core/cluster/model.ts";
import { ConfigError } from "../../core/error.ts";
import { parseManifest } from "../../daemon/source/manifest.ts";
import { defaultNodeCount } from "./arguments.ts";

/** Manifests by file name, and the nodes in them, in their order. */
export interface LabCluster {
  readonly files: ReadonlyMap<string, string>;
  readonly nodes: readonly Node[];
}

/** The file of the demo's manifests that another number of nodes replaces. */
const nodesFile = "nodes.yaml";

/** A directory's manifests. Throws ConfigError naming the file, the line and what is wrong in it. */
export function readCluster(directory: string): LabCluster {
  const names = namesIn(directory).filter((name) => /^[^.].*\.ya?ml$/.test(name));
  const files = names
    .sort()
    .map((name) => [name, readFileSync(join(directory, name), "utf8")] as const);
  return { files: new Map(files), nodes: files.flatMap(([name, text]) => nodesIn(name, text)) };
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (cause) {
    throw new ConfigError(directory, "Cannot read the directory of the manifests", { cause });
  }
}

/** The demo's cluster with this many nodes. */
export function demoCluster(directory: string, count: number): LabCluster {
  const { files, nodes } = readCluster(directory);
  if (count === defaultNodeCount) return { files, nodes };
  const text = formatNodes(count);
  return { files: new Map([...files, [nodesFile, text]]), nodes: nodesIn(nodesFile, text) };
}

/**
 * Node manifests in the demo's pattern: two of three nodes on link 1, the third behind the router on
 * link 2; addresses from .11 on, and the pod CIDR by number.
 */
export const formatNodes = (count: number): string =>
  Array.from({ length: count }, (_, index) => {
    const link = index % 3 === 2 ? 2 : 1;
    return `apiVersion: v1
kind: Node
metadata:
  name: ${nodeName(index)}
  creationTimestamp: "2026-01-01T00:${String(Math.floor(index / 60)).padStart(2, "0")}:${String(index % 60).padStart(2, "0")}Z"
spec:
  podCIDRs: [10.244.${index + 1}.0/24]
status:
  addresses:
    - { type: InternalIP, address: 172.30.${link}.${11 + index} }
    - { type: Hostname, address: ${nodeName(index)} }
`;
  }).join("---\n");

/** node-a … node-z, node-aa … */
function nodeName(index: number): string {
  let letters = "";
  for (let rest = index + 1; rest > 0; rest = Math.floor((rest - 1) / 26)) {
    letters = String.fromCodePoint(0x61 + ((rest - 1) % 26)) + letters;
  }
  return `node-${letters}`;
}

function nodesIn(name: string, text: string): Node[] {
  const manifest = parseManifest(text);
  if (manifest.kind === "invalid") {
    const [first] = manifest.problems;
    throw new ConfigError(
      `${name}:${first?.line ?? 1}`,
      first?.message ?? "Cannot parse the manifest",
    );
  }
  return manifest.objects.flatMap(({ value }) => (value.kind === "Node" ? [value.object] : []));
}
