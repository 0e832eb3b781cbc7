import { randomBytes } from "node:crypto";
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import * as v from "valibot";
import { replaceFile } from "../../daemon/replace-file.ts";
import { clusterOf, memberOf, podsOf } from "./directory.ts";
import { createMember, type Member, runIn } from "./member.ts";
import { endProcessesOf } from "./member-process.ts";
import { formatHosts, formatPodManifest, formatResolvConf } from "./pod-text.ts";
import {
  type AddOutcome,
  addToNetwork,
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

/** A sandbox, its network by CNI, and its namespaces; all or nothing. */
export async function addPod(
  lab: string,
  runtime: Runtime,
  wish: PodWish,
  signal: AbortSignal,
): Promise<LabPod> {
  const { name, namespace, labels } = wish;
  const pod = memberOf(lab, name);
  if (existsSync(pod.directory)) throw new Error(`Cannot add pod "${name}": the lab has a ${name}`);
  const containerId = randomBytes(32).toString("hex");
  const netnsName = `cni-${containerId.slice(0, 12)}`;
  const sandbox = { containerId, netns: `/run/netns/${netnsName}` };
  const attachment = attachmentOf({ ...wish, ...sandbox });

  await using undo = new AsyncDisposableStack();
  // A cancelled ADD is undone all the same, so undoing does not listen to the signal.
  const never = new AbortController().signal;
  await runIn(runtime.node, ["ip", "netns", "add", netnsName], { signal });
  undo.defer(() => removeSandbox(runtime.node, sandbox.netns, never));
  await runIn(runtime.node, ["ip", "-n", netnsName, "link", "set", "lo", "up"], { signal });
  undo.defer(async () => void (await removeFromNetwork(runtime, attachment, never)));
  const outcome = await addToNetwork(runtime, attachment, signal);
  undo.defer(() => removeMember(pod, never));
  await createPodMember(pod, runtime.node, { netns: sandbox.netns, outcome }, signal);
  const record: LabPod = {
    name,
    namespace,
    labels: { ...labels },
    node: runtime.node.name,
    ...sandbox,
    addresses: outcome.result.ips.map(({ address }) => address.split("/")[0] ?? address),
    addMs: outcome.runs.reduce((sum, { ms }) => sum + ms, 0),
  };
  replaceFile(join(podsOf(lab), `${name}.json`), JSON.stringify(record), 0o600);
  replaceFile(manifestPath(lab, record), formatPodManifest(record), 0o644);
  undo.move();
  return record;
}

/** Ends the pod's processes, detaches it by CNI, and removes what was made for it. */
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
  await removeMember(member, signal);
  await removeSandbox(runtime.node, pod.netns, signal);
  rmSync(join(podsOf(lab), `${pod.name}.json`), { force: true });
  return { delMs: runs.reduce((sum, { ms }) => sum + ms, 0) };
}

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

async function createPodMember(
  pod: Member,
  node: Member,
  { netns, outcome }: { readonly netns: string; readonly outcome: AddOutcome },
  signal: AbortSignal,
): Promise<void> {
  const addresses = outcome.result.ips.map(({ address }) => address.split("/")[0] ?? address);
  await createMember(
    pod,
    {
      origin: { kind: "pod", node, netns },
      script: podScript,
      args: [formatResolvConf(outcome.result.dns), formatHosts(pod.name, addresses)],
    },
    signal,
  );
}

async function removeMember(member: Member, signal: AbortSignal): Promise<void> {
  await endProcessesOf(member, signal);
  rmSync(member.directory, { recursive: true, force: true });
}

const removeSandbox = async (node: Member, netns: string, signal: AbortSignal): Promise<void> => {
  const name = netns.slice(netns.lastIndexOf("/") + 1);
  await runIn(node, ["sh", "-c", `[ ! -e "$1" ] || ip netns del "$2"`, "sh", netns, name], {
    signal,
  });
};

const manifestPath = (lab: string, pod: Pick<LabPod, "namespace" | "name">): string =>
  join(clusterOf(lab), `pod-${pod.namespace}-${pod.name}.yaml`);
