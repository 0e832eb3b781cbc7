import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as v from "valibot";
import { describeError } from "../../core/error.ts";
import { replaceFile } from "../../daemon/files/replace-file.ts";
import type { artifacts } from "../home.ts";
import { requireRoot } from "../root.ts";
import type { LabCluster } from "./cluster.ts";
import { startDaemon } from "./daemon.ts";
import {
  clusterOf,
  createLabDirectory,
  isLabDirectory,
  isMounted,
  labFile,
  memberOf,
  membersOf,
  removeLabDirectory,
} from "./directory.ts";
import { etcdEndpoints, startEtcd } from "./etcd.ts";
import { endProcessesOf } from "./member-process.ts";
import type { Member } from "./member.ts";
import { createNode, nodeFiles } from "./node.ts";
import type { Runtime } from "./runtime.ts";
import { planTopology, type Topology } from "./topology.ts";
import { cableUp, createWorld } from "./underlay.ts";

export interface LabPlan {
  readonly directory: string;
  /** Where the daemons read the cluster: the manifests, or an etcd of the lab's, which has nothing at first. */
  readonly source: LabSource;
  readonly cluster: LabCluster;
  readonly artifacts: typeof artifacts;
  /** One line of progress. */
  readonly report: (line: string) => void;
}

export type LabSource = "file" | "etcd";

/** A lab that is up. */
export interface Lab {
  readonly directory: string;
  readonly nodes: readonly string[];
  /** CNI_PATH of its runtimes. */
  readonly pluginPath: readonly string[];
}

const labSchema = v.object({ nodes: v.array(v.string()), pluginPath: v.array(v.string()) });

/** Builds a lab; a failure, or the signal, takes away what was built. */
export async function labUp(
  plan: LabPlan,
  signal: AbortSignal,
): Promise<{ readonly lab: Lab; readonly topology: Topology }> {
  requireRoot("make a lab");
  if (!isMounted("/")) {
    throw new Error(
      'Cannot make a lab in a root that is no mount point: "mount --bind ROOT ROOT" before chroot',
    );
  }
  for (const file of [join(plan.artifacts.plugins, "fairlead"), plan.artifacts.command]) {
    if (!existsSync(file)) throw new Error(`Cannot find ${file}: expected it from "./run build"`);
  }
  const topology = planTopology(plan.cluster.nodes);
  await createLabDirectory(plan.directory, signal);
  try {
    return { lab: await build(plan, topology, signal), topology };
  } catch (error) {
    plan.report(`failed: ${describeError(error)}; taking the lab down`);
    await labDown(plan.directory);
    throw error;
  }
}

/** The lab in a directory. Throws when there is none, or only part of one. */
export function openLab(directory: string): Lab {
  // Only root sees what is in its directory.
  requireRoot("use a lab");
  if (!existsSync(labFile(directory))) {
    throw new Error(`No lab in ${directory}: "fairlead lab up" makes one`);
  }
  const { nodes, pluginPath } = v.parse(
    labSchema,
    JSON.parse(readFileSync(labFile(directory), "utf8")),
  );
  return { directory, nodes, pluginPath };
}

/** Takes away whatever there is of a lab, however it ended; says whether there was anything. Throws for what is no lab. */
export async function labDown(directory: string): Promise<boolean> {
  requireRoot("take a lab away");
  // Not to be interrupted: half a lab taken down is worse than a second's wait.
  const { signal } = new AbortController();
  if (!isLabDirectory(directory)) return false;
  await inParallel(membersOf(directory), (member) => endProcessesOf(member, signal));
  await removeLabDirectory(directory, signal);
  return true;
}

export const runtimeOf = (lab: Lab, node: string): Runtime => ({
  node: nodeOf(lab, node),
  pluginPath: lab.pluginPath,
});

export function nodeOf(lab: Lab, name: string): Member {
  if (lab.nodes.includes(name)) return memberOf(lab.directory, name);
  throw new Error(`No node "${name}" in the lab: expected ${lab.nodes.join(", ")}`);
}

async function build(plan: LabPlan, topology: Topology, signal: AbortSignal): Promise<Lab> {
  const { directory, source, cluster, artifacts, report } = plan;
  const endpoints = source === "etcd" ? etcdEndpoints(topology) : undefined;
  for (const [name, text] of cluster.files) writeFileSync(join(clusterOf(directory), name), text);
  const nodes = topology.nodes.map((node) => memberOf(directory, node.name));

  await inParallel(
    [
      () => createWorld(directory, signal),
      ...nodes.map(
        (node) => () =>
          createNode(
            node,
            {
              lab: directory,
              cluster: clusterOf(directory),
              resolvConf: [`nameserver ${topology.outside.address}`],
              files: nodeFiles(node.name, topology, endpoints),
            },
            signal,
          ),
      ),
    ],
    (create) => create(),
  );
  report(`namespaces of ${nodes.length} nodes, a router and the outside`);
  await cableUp(directory, topology, artifacts.command, signal);
  report(
    `underlay: ${topology.links.map(({ cidr }) => cidr).join(", ")} and ${topology.outside.cidr} outside`,
  );
  if (endpoints !== undefined) {
    await startEtcd(directory, topology, signal);
    report(`etcd: ${endpoints.join(", ")}`);
  }
  await inParallel(nodes, async (node) => {
    const ms = await startDaemon(node, artifacts.command, signal);
    report(`${node.name}: daemon ready in ${ms.toFixed(0)} ms`);
  });
  const lab: Lab = {
    directory,
    nodes: topology.nodes.map(({ name }) => name),
    pluginPath: [artifacts.plugins, "/opt/cni/bin", "/usr/lib/cni"],
  };
  replaceFile(labFile(directory), JSON.stringify(lab), 0o600);
  return lab;
}

/** Runs all to their end, then throws the first failure: nothing goes on behind the caller's back. */
export async function inParallel<T>(
  items: readonly T[],
  run: (item: T) => Promise<void>,
): Promise<void> {
  const outcomes = await Promise.allSettled(items.map(run));
  for (const outcome of outcomes) if (outcome.status === "rejected") throw outcome.reason;
}
