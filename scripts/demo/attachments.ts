import { nodeOf, runtimeOf } from "../../cli/lab/lab.ts";
import { memberOf } from "../../cli/lab/directory.ts";
import { processesOf } from "../../cli/lab/member-process.ts";
import { addPod, type LabPod, removePod } from "../../cli/lab/pod.ts";
import { isAlive } from "../../cli/lab/process.ts";
import { cidrContains, parseIp } from "../../core/address.ts";
import { formatTable } from "../../cli/table.ts";
import { runIn } from "../../cli/lab/member.ts";
import { type Claim, formatTimes, median } from "./claim.ts";
import { linesLeft, observeNode, type ObservedNodes, remainsDeadlineMs } from "./remains.ts";
import type { Stage } from "./stage.ts";

const namespace = "demo";
/** What the launcher takes at least before it serves a request without the daemon. */
const withoutDaemonMs = 1000;

/** Point 3: web and db on each node, in this order, so that they get the addresses in the manifests. */
export async function addPods(
  stage: Stage,
): Promise<{ readonly pods: readonly LabPod[]; readonly claims: readonly Claim[] }> {
  const { lab, cluster, signal } = stage;
  const pods: LabPod[] = [];
  // One after the other, so that the times are those of an ADD and not of six at once.
  for (const [index, node] of lab.nodes.entries()) {
    for (const app of ["web", "db"]) {
      const wish = { name: `${app}-${index}`, namespace, labels: { app } };
      const pod = await addPod(lab.directory, runtimeOf(lab, node), wish, signal);
      stage.report(
        `${pod.name}: ${pod.addresses.join(" ")} on ${node} (ADD ${pod.addMs.toFixed(1)} ms)`,
      );
      pods.push(pod);
    }
  }
  const misplaced = pods.filter(({ node, addresses: [address = ""] }) => {
    const ip = parseIp(address);
    const cidrs = cluster.nodes.find(({ name }) => name === node)?.podCidrs ?? [];
    return ip === undefined || !cidrs.some((cidr) => cidrContains(cidr, ip));
  });
  const distinct = new Set(pods.flatMap(({ addresses }) => addresses)).size;
  const addTimes = pods.map(({ addMs }) => addMs);
  stage.show(
    "Pods, each attached by executing dist/cni/fairlead with the node's conflist",
    formatTimesByPod(pods, addTimes, "ADD"),
  );
  return {
    pods,
    claims: [
      {
        text: "two pods per node are attached, with addresses of their node's pod CIDR",
        seen:
          misplaced.length === 0
            ? `${pods.length} pods, ${distinct} addresses`
            : `out of place: ${misplaced.map(({ name, addresses }) => `${name} ${addresses.join(" ")}`).join(", ")}`,
        isTrue:
          misplaced.length === 0 &&
          distinct === pods.length &&
          pods.length === lab.nodes.length * 2,
      },
      {
        text: "each ADD is served by the daemon (the launcher waits a second before it does without)",
        seen: `${formatTimes(addTimes)}; ${await emptyProcess(stage)}`,
        isTrue: addTimes.every((ms) => ms < withoutDaemonMs),
      },
    ],
  };
}

const formatTimesByPod = (
  pods: readonly LabPod[],
  times: readonly number[],
  verb: string,
): string =>
  formatTable(
    [
      ["POD", "NODE", "ADDRESS", `${verb} ms`],
      ...pods.map(({ name, node, addresses }, index) => [
        name,
        node,
        addresses.join(" "),
        times[index]?.toFixed(1) ?? "",
      ]),
    ],
    "  ",
  );

/** What any process costs that is started in a node as the plugins are: the floor of the times. */
async function emptyProcess({ lab, signal }: Stage): Promise<string> {
  const times: number[] = [];
  for (const name of lab.nodes) {
    for (let i = 0; i < 5; i++) {
      const start = performance.now();
      await runIn(nodeOf(lab, name), ["true"], { signal });
      times.push(performance.now() - start);
    }
  }
  return `an empty process: ${median(times).toFixed(1)} ms`;
}

/** Point 6: DEL of every pod, and a comparison of each node with what it was before the first ADD. */
export async function removePods(
  stage: Stage,
  pods: readonly LabPod[],
  before: ObservedNodes,
): Promise<Claim[]> {
  const { lab, show, signal } = stage;
  const processes = pods.flatMap((pod) => processesOf(memberOf(lab.directory, pod.name)));
  const delTimes: number[] = [];
  for (const pod of pods) {
    const { delMs } = await removePod(lab.directory, runtimeOf(lab, pod.node), pod, signal);
    stage.report(`${pod.name}: detached (DEL ${delMs.toFixed(1)} ms)`);
    delTimes.push(delMs);
  }
  show("Pods, each detached in the same way", formatTimesByPod(pods, delTimes, "DEL"));
  const left = await Promise.all(
    lab.nodes.map(async (name) => {
      const observe = (): Promise<readonly string[]> => observeNode(nodeOf(lab, name), signal);
      const lines = await linesLeft(before.get(name) ?? [], observe, {
        deadlineMs: remainsDeadlineMs,
        signal,
      });
      return lines.map((line) => `${name}: ${line}`);
    }),
  );
  const alive = processes.filter(isAlive);
  const remains = [...left.flat(), ...alive.map(({ pid }) => `process ${pid}`)];
  const compared = [...before.values()].reduce((sum, lines) => sum + lines.length, 0);
  return [
    {
      text: "each DEL is served by the daemon",
      seen: formatTimes(delTimes),
      isTrue: delTimes.every((ms) => ms < withoutDaemonMs),
    },
    {
      text: "after DEL no interface, address, route, neighbor, rule, lease, record or process is left",
      seen:
        remains.length === 0
          ? `${lab.nodes.length} nodes as before (${compared} objects), ${processes.length} processes gone`
          : remains.join("; "),
      isTrue: remains.length === 0,
    },
  ];
}
