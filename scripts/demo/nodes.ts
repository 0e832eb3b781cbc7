import { statSync } from "node:fs";
import { nodeOf } from "../../cli/lab/lab.ts";
import { holderOf, type Member, namespaceOf, runIn } from "../../cli/lab/member.ts";
import type { StatusReport } from "../../core/status.ts";
import type { Claim } from "./claim.ts";
import type { Stage } from "./stage.ts";

/** Points 1 and 2 of the demo: machines apart, a daemon on each, and the cluster as the manifests have it. */
export async function claimNodes(stage: Stage): Promise<Claim[]> {
  const nodes = stage.lab.nodes.map((name) => nodeOf(stage.lab, name));
  const reports = await Promise.all(
    nodes.map(async (node): Promise<StatusReport> => {
      const command = [stage.command, "status", "--json"];
      return JSON.parse(await runIn(node, command, { signal: stage.signal }));
    }),
  );
  return [claimApart(nodes), claimReady(reports), claimCluster(stage, reports)];
}

function claimApart(nodes: readonly Member[]): Claim {
  const kinds = ["net", "mnt", "uts"] as const;
  const distinct = kinds.map((kind) => {
    const own = statSync(`/proc/self/ns/${kind}`).ino;
    return (
      new Set([own, ...nodes.map((node) => statSync(namespaceOf(holderOf(node), kind)).ino)]).size -
      1
    );
  });
  return {
    text: "nodes have network, mount and UTS namespaces of their own",
    seen: kinds.map((kind, index) => `${distinct[index]} ${kind}`).join(", "),
    isTrue: distinct.every((count) => count === nodes.length),
  };
}

function claimReady(reports: readonly StatusReport[]): Claim {
  const faults = reports.flatMap(({ node, isReady, problems }) => [
    ...(isReady ? [] : [`${node.name} is not ready`]),
    ...problems.map(({ area, message }) => `${node.name}: ${area}: ${message}`),
  ]);
  return {
    text: "a daemon on each node is ready and has no problem (fairlead status)",
    seen: faults.length === 0 ? `${reports.length} ready` : faults.join("; "),
    isTrue: faults.length === 0,
  };
}

function claimCluster({ cluster, topology }: Stage, reports: readonly StatusReport[]): Claim {
  const linkOf = (name: string): number | undefined =>
    topology.nodes.find((node) => node.name === name)?.link;
  const expectedOf = (name: string): string =>
    cluster.nodes
      .map((node) => {
        const path =
          node.name === name ? "self" : linkOf(node.name) === linkOf(name) ? "direct" : "vxlan";
        return `${node.name} ${node.podCidrs.join(" ")} ${path}`;
      })
      .sort()
      .join(", ");
  const seenOf = ({ node, peers }: StatusReport): string =>
    [
      `${node.name} ${node.podCidrs.join(" ")} self`,
      ...peers.map((peer) => `${peer.name} ${peer.podCidrs.join(" ")} ${peer.path}`),
    ]
      .sort()
      .join(", ");
  const wrong = reports.filter((report) => seenOf(report) !== expectedOf(report.node.name));
  const [first] = wrong;
  return {
    text: `each daemon has the ${cluster.nodes.length} Nodes of the manifests: pod CIDRs, and the path to each peer`,
    seen:
      first === undefined
        ? countPaths(reports)
        : `${first.node.name}: ${seenOf(first)}; expected ${expectedOf(first.node.name)}`,
    isTrue: wrong.length === 0,
  };
}

function countPaths(reports: readonly StatusReport[]): string {
  const paths = reports.flatMap(({ peers }) => peers.map(({ path }) => path));
  const count = (wanted: string): number => paths.filter((path) => path === wanted).length;
  return `${count("direct")} direct, ${count("vxlan")} vxlan, ${count("none")} none`;
}
