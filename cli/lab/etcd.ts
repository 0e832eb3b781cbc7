// The lab's etcd: real members on its first nodes, where `--source etcd` asks for it.
import { memberOf } from "./directory.ts";
import { startListener } from "./listener.ts";
import type { LabNode, Topology } from "./topology.ts";

const clientPort = 2379;
const peerPort = 2380;
/** With fewer nodes than this there is one: two are lost with either. */
const mostMembers = 3;

const membersOf = ({ nodes }: Topology): readonly LabNode[] =>
  nodes.slice(0, nodes.length < mostMembers ? 1 : mostMembers);

const urlOf = ({ address }: LabNode, port: number): string => `http://${address}:${port}`;

/** Where the nodes' daemons find it. */
export const etcdEndpoints = (topology: Topology): readonly string[] =>
  membersOf(topology).map((node) => urlOf(node, clientPort));

/** What a member is started with; its data lies in the node. */
export function etcdCommand(node: LabNode, topology: Topology): readonly string[] {
  const cluster = membersOf(topology).map((one) => `${one.name}=${urlOf(one, peerPort)}`);
  return [
    "etcd",
    `--name=${node.name}`,
    "--data-dir=/var/lib/etcd",
    "--logger=zap",
    "--log-level=warn",
    `--listen-client-urls=${urlOf(node, clientPort)}`,
    `--advertise-client-urls=${urlOf(node, clientPort)}`,
    `--listen-peer-urls=${urlOf(node, peerPort)}`,
    `--initial-advertise-peer-urls=${urlOf(node, peerPort)}`,
    `--initial-cluster=${cluster.join(",")}`,
    // The data of a lab outlives no machine.
    "--unsafe-no-fsync",
  ];
}

/** Starts the members; resolves when each listens. */
export async function startEtcd(
  lab: string,
  topology: Topology,
  signal: AbortSignal,
): Promise<void> {
  const starts = membersOf(topology).map((node) =>
    startListener(
      memberOf(lab, node.name),
      { name: "etcd", command: etcdCommand(node, topology) },
      { protocol: "tcp", port: clientPort },
      signal,
    ),
  );
  const outcomes = await Promise.allSettled(starts);
  for (const outcome of outcomes) if (outcome.status === "rejected") throw outcome.reason;
}
