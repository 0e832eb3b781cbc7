import { randomBytes } from "node:crypto";
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import * as v from "valibot";
import { replaceFile } from "../../daemon/files/replace-file.ts";
import { clusterOf, memberOf, podsOf } from "./directory.ts";
import { endProcessesOf } from "./member-process.ts";
import { createMember, runIn } from "./member.ts";
import { formatHosts, formatPodManifest, formatResolvConf } from "./pod-text.ts";
import {
  addToNetwork,
  type PluginRun,
  removeFromNetwork,
  type Runtime,
  type RuntimeAttachment,
} from "./runtime.ts";

const podSchema = v.object({
  name: v.string(),
  namespace: v.string(),
  node: v.string(),
  labels: v.record(v.string(), v.string()),
  containerId: v.string(),
  /** A path inside the node. */
  netns: v.string(),
  addresses: v.array(v.string()),
  /** Of the whole chain, milliseconds. */
  addMs: v.number(),
});

/** A pod that was attached, as its record has it. */
export type LabPod = Readonly<v.InferOutput<typeof podSchema>>;

export interface PodWish {
  readonly name: string;
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
}

const ifName = "eth0";

/**
 * A sandbox, its network by CNI, and its namespaces. Recorded before anything is made, so that
 * `removePod` undoes whatever was done, of a failure here as of a command that was killed.
 */
export async function addPod(
  lab: string,
  runtime: Runtime,
  { name, namespace, labels }: PodWish,
  signal: AbortSignal,
): Promise<LabPod> {
  const member = memberOf(lab, name);
  if (existsSync(member.directory) || existsSync(recordPath(lab, name))) {
    throw new Error(`Cannot add pod "${name}": the lab has a ${name}`);
  }
  const { node } = runtime;
  const containerId = randomBytes(32).toString("hex");
  const netns = `/run/netns/cni-${containerId.slice(0, 12)}`;
  const identity = { name, namespace, node: node.name, labels: { ...labels }, containerId, netns };
  const begun: LabPod = { ...identity, addresses: [], addMs: 0 };
  writeRecord(lab, begun);

  await using undo = new AsyncDisposableStack();
  // What was cancelled is undone all the same: undoing does not listen to the signal.
  const never = new AbortController().signal;
  undo.defer(async () => void (await removePod(lab, runtime, begun, never)));
  await runIn(node, ["ip", "netns", "add", basename(netns)], { signal });
  await runIn(node, ["ip", "-n", basename(netns), "link", "set", "lo", "up"], { signal });
  const { result, runs } = await addToNetwork(runtime, attachmentOf(begun), signal);
  const addresses = result.ips.map(({ address }) => address.split("/")[0] ?? address);
  await createMember(
    member,
    {
      origin: { kind: "pod", node, netns },
      script: podScript,
      args: [formatResolvConf(result.dns), formatHosts(name, addresses)],
    },
    signal,
  );
  const pod: LabPod = { ...begun, addresses, addMs: sumOf(runs) };
  replaceFile(manifestPath(lab, pod), formatPodManifest(pod), 0o644);
  writeRecord(lab, pod);
  undo.move();
  return pod;
}

/** Ends the pod's processes, detaches it by CNI, and removes what was made for it, as far as it is there. */
export async function removePod(
  lab: string,
  runtime: Runtime,
  pod: LabPod,
  signal: AbortSignal,
): Promise<{ readonly delMs: number }> {
  const member = memberOf(lab, pod.name);
  rmSync(manifestPath(lab, pod), { force: true });
  await endProcessesOf(member, signal);
  const runs = await removeFromNetwork(runtime, attachmentOf(pod), signal);
  const removeNetns = `[ ! -e "$1" ] || ip netns del "$(basename "$1")"`;
  await runIn(runtime.node, ["sh", "-c", removeNetns, "sh", pod.netns], { signal });
  rmSync(member.directory, { recursive: true, force: true });
  rmSync(recordPath(lab, pod.name));
  return { delMs: sumOf(runs) };
}

const sumOf = (runs: readonly PluginRun[]): number => runs.reduce((sum, { ms }) => sum + ms, 0);

const recordPath = (lab: string, name: string): string => join(podsOf(lab), `${name}.json`);

const writeRecord = (lab: string, pod: LabPod): void =>
  replaceFile(recordPath(lab, pod.name), JSON.stringify(pod), 0o600);

/** Every pod of the lab, by name. */
export function podsIn(lab: string): LabPod[] {
  if (!existsSync(podsOf(lab))) return [];
  return readdirSync(podsOf(lab))
    .filter((file) => file.endsWith(".json") && !file.startsWith("."))
    .sort()
    .map((file) => v.parse(podSchema, JSON.parse(readFileSync(join(podsOf(lab), file), "utf8"))));
}

/** What kubelet through containerd says of the attachment. */
const attachmentOf = (
  pod: Pick<LabPod, "name" | "namespace" | "containerId" | "netns">,
): RuntimeAttachment => ({
  containerId: pod.containerId,
  netns: pod.netns,
  ifName,
  args: [
    ["IgnoreUnknown", "1"],
    ["K8S_POD_NAMESPACE", pod.namespace],
    ["K8S_POD_NAME", pod.name],
    ["K8S_POD_INFRA_CONTAINER_ID", pod.containerId],
  ],
});

// As in a container: a /run of its own, and its own copies of the three files that name things.
const podScript = `
umount -n --lazy /run
mount -n -t tmpfs -o mode=0755 tmpfs /run
mount -n -t sysfs sysfs /sys
printf %s "$1" >/run/resolv.conf
printf %s "$2" >/run/hosts
echo "$name" >/run/hostname
for file in resolv.conf hosts hostname; do
  mount -n --bind "/run/$file" "/etc/$file"
done`;

const manifestPath = (lab: string, pod: Pick<LabPod, "namespace" | "name">): string =>
  join(clusterOf(lab), `pod-${pod.namespace}-${pod.name}.yaml`);
