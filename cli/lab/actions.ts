import { dirname, join } from "node:path";
import { invariant } from "../../core/assert.ts";
import { type CliContext, UsageError } from "../context.ts";
import { artifacts, commandFor } from "../home.ts";
import { requireRoot } from "../root.ts";
import {
  checkName,
  defaultLabDirectory,
  defaultNodeCount,
  type LabOptions,
  parseLabSource,
  parseNodeCount,
  type PodAddOptions,
  type UpOptions,
} from "./arguments.ts";
import { demoCluster, type LabCluster, readCluster } from "./cluster.ts";
import { memberOf } from "./directory.ts";
import { type Lab, labDown, type LabSource, labUp, openLab, runtimeOf } from "./lab.ts";
import { enter } from "./member.ts";
import { addPod, podsIn, removePod } from "./pod.ts";
import { worldNames } from "./topology.ts";

export async function up(options: UpOptions, context: CliContext): Promise<void> {
  // Before the manifests are looked for, which a build brings.
  requireRoot("make a lab");
  const source = parseLabSource(options.source);
  if (source === "etcd" && options.cluster !== undefined) {
    throw new UsageError("Cannot use --cluster with --source etcd: its daemons read no manifests");
  }
  const cluster = clusterOfOptions(options);
  const report = (line: string): void => context.stderr(`${line}\n`);
  const { lab, topology } = await labUp(
    { directory: options.dir, source, cluster, artifacts, report },
    context.signal,
  );
  print(
    context,
    options,
    { directory: lab.directory, topology },
    whatNext(lab, source, commandFor(context.environment, process.cwd())),
  );
}

export async function down(options: LabOptions, context: CliContext): Promise<void> {
  const { dir } = options;
  const wasThere = await labDown(dir);
  print(
    context,
    options,
    { directory: dir, wasThere },
    wasThere ? `removed the lab in ${dir}` : `no lab in ${dir}`,
  );
}

export function exec(
  name: string,
  command: readonly string[],
  { dir }: LabOptions,
  context: CliContext,
): void {
  const names = [...openLab(dir).nodes, ...worldNames, ...podsIn(dir).map((pod) => pod.name)];
  if (!names.includes(name)) {
    throw new Error(`No node or pod "${name}" in the lab: expected ${names.join(", ")}`);
  }
  // sbin, which users' shells lack, and fairlead itself.
  const path = [context.environment["PATH"], "/usr/sbin", "/sbin", dirname(artifacts.command)];
  context.replaceProcess([...enter(memberOf(dir, name)), ...command], {
    ...context.environment,
    PATH: path.filter(Boolean).join(":"),
  });
}

export async function podAdd(
  name: string,
  options: PodAddOptions,
  context: CliContext,
): Promise<void> {
  const { dir, namespace, label: labels } = options;
  checkName("pod", name);
  checkName("namespace", namespace);
  const runtime = runtimeOf(openLab(dir), options.node);
  const pod = await addPod(dir, runtime, { name, namespace, labels }, context.signal);
  const text = `pod ${name} on ${pod.node}: ${pod.addresses.join(" ")} (ADD ${pod.addMs.toFixed(1)} ms)`;
  print(context, options, pod, text);
}

export async function podRemove(
  name: string,
  options: LabOptions,
  context: CliContext,
): Promise<void> {
  const { dir } = options;
  const lab = openLab(dir);
  const pods = podsIn(dir);
  const pod = pods.find((candidate) => candidate.name === name);
  if (pod === undefined) {
    const names = pods.map((candidate) => candidate.name).join(", ");
    throw new Error(
      `No pod "${name}" in the lab: ${names === "" ? "it has none" : `expected ${names}`}`,
    );
  }
  const { delMs } = await removePod(dir, runtimeOf(lab, pod.node), pod, context.signal);
  print(context, options, { name, delMs }, `removed pod ${name} (DEL ${delMs.toFixed(1)} ms)`);
}

function clusterOfOptions({ nodes, cluster }: UpOptions): LabCluster {
  if (nodes !== undefined && cluster !== undefined) {
    throw new UsageError(
      "Cannot use --nodes with --cluster: the manifests say which nodes there are",
    );
  }
  if (cluster !== undefined) return clusterIn(cluster);
  return demoCluster(
    join(artifacts.conf, "demo"),
    parseNodeCount(nodes ?? String(defaultNodeCount)),
  );
}

function clusterIn(directory: string): LabCluster {
  const cluster = readCluster(directory);
  if (cluster.nodes.length > 0) return cluster;
  throw new Error(
    `Cannot make a lab of ${directory}: expected at least one Node in its .yaml files`,
  );
}

function print(context: CliContext, { json }: LabOptions, value: object, text: string): void {
  context.stdout(json ? `${JSON.stringify(value, null, 2)}\n` : `${text}\n`);
}

function whatNext({ directory, nodes }: Lab, source: LabSource, command: string): string {
  const [first, last] = [nodes.at(0), nodes.at(-1)];
  invariant(first !== undefined && last !== undefined, "a lab has a node");
  const dir = directory === defaultLabDirectory ? "" : ` --dir ${directory}`;
  const whereItIs =
    source === "file"
      ? `The manifests are in ${directory}/cluster: edit them, and every daemon follows.`
      : `The cluster is in etcd: ${command} lab exec${dir} ${first} -- fairlead service publish hello --port 80 --address ADDRESS-OF-HELLO`;
  return `
the lab is up in ${directory}: ${nodes.join(", ")}. Try:
  ${command} lab pod add${dir} hello --node ${first}
  ${command} lab pod add${dir} world --node ${last}
  ${command} lab exec${dir} hello -- ping -c 3 ADDRESS-OF-WORLD
  ${command} lab exec${dir} hello -- getent hosts ${source === "file" ? "web.demo.svc.cluster.local" : "world"}
  ${command} lab exec${dir} ${first} -- fairlead status
  ${command} lab exec${dir} ${first} -- ip route
  ${command} lab down${dir}
${whereItIs}`;
}
