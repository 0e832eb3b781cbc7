// A generated cluster: node-a, which is here, and peers that exist in manifests only, each behind a
// router, and so each with a route, a neighbor and a forwarding entry.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Cidr, Ip } from "../../core/address.ts";
import type { Node } from "../../core/cluster/model.ts";
import { aNode } from "../../test/support/builders.ts";

export const configuration = `network: { podCIDRs: [10.0.0.0/8], serviceCIDRs: [172.16.0.0/16] }
dns: { addresses: [172.16.0.10] }
`;

export const localNode: Node = aNode("node-a", "172.30.1.11", "10.0.1.0/24");

/** Peer `index` from 0; `generation` is the version of its address. */
export const peerNode = (index: number, generation = 0): Node =>
  aNode(
    `peer-${index}`,
    `172.${20 + generation}.${index >> 8}.${index & 255}`,
    `10.${1 + (index >> 8)}.${index & 255}.0/24`,
  );

export const clusterOf = (nodes: number): readonly Node[] => [
  localNode,
  ...Array.from({ length: nodes - 1 }, (_, index) => peerNode(index)),
];

export const manifestOf = ({
  name,
  addresses,
  podCidrs,
}: {
  readonly name: string;
  readonly addresses: readonly Ip[];
  readonly podCidrs: readonly Cidr[];
}): string => `apiVersion: v1
kind: Node
metadata:
  name: ${name}
  labels: { kubernetes.io/hostname: ${name}, kubernetes.io/os: linux }
spec:
  podCIDRs: [${podCidrs.join(", ")}]
status:
  addresses:
${addresses.map((address) => `    - { type: InternalIP, address: ${address} }\n`).join("")}`;

/** One file a node. */
export function writeCluster(directory: string, nodes: number): void {
  mkdirSync(directory, { recursive: true });
  for (const node of clusterOf(nodes)) {
    writeFileSync(join(directory, `${node.name}.yaml`), manifestOf(node));
  }
}
