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

/** Point 3: web and db on each node, in this order, so that they get the addresses in the manifests. */
export async function addPods(
  stage: Stage,
): Promise<{ readonly pods: readonly LabPod[]; readonly claims: readonly Claim[] }> {
  const { lab, cluster, signal } = stage;
  const byNode = await Promise.all(
    lab.nodes.map(async (node, index) => {
      const pods: LabPod[] = [];
      for (const app of ["web", "db"]) {
        const wish = { name: `${app}-${index}`, namespace, labels: { app } };
        const pod = await addPod(lab.directory, runtimeOf(lab, node), wish, signal);
        stage.report(
          `${pod.name}: ${pod.addresses.join(" ")} on ${node} (ADD ${pod.addMs.toFixed(1)} ms)`,
        );
        pods.push(pod);
      }
      return pods;
    }),
  );
  const pods = byNode.flat();
  const misplaced = pods.filter(({ node, addresses: [address = ""] }) => {
    const ip = parseIp(address);
    const cidrs = cluster.nodes.find(({ name }) => name === node)?.podCidrs ?? [];
    return ip === undefined || !cidrs.some((cidr) => cidrContains(cidr, ip));
  });
  const distinct = new Set(pods.flatMap(({ addresses }) => addresses)).size;
  stage.show(
    "Pods, each attached by executing dist/cni/fairlead with the node's conflist",
    formatTable(
      [
        ["POD", "NODE", "ADDRESS", "ADD ms"],
        ...pods.map((pod) => [pod.name, pod.node, pod.addresses.join(" "), pod.addMs.toFixed(1)]),
      ],
      "  ",
    ),
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
        text: "ADD, plugin processes from start to end",
        seen: `${formatTimes(pods.map(({ addMs }) => addMs))}; ${await emptyProcess(stage)}`,
        isTrue: true,
      },
    ],
  };
}

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
  const { lab, signal } = stage;
  const processes = pods.flatMap((pod) => processesOf(memberOf(lab.directory, pod.name)));
  const times: number[] = [];
  await Promise.all(
    lab.nodes.map(async (node) => {
      for (const pod of pods.filter((candidate) => candidate.node === node)) {
        const { delMs } = await removePod(lab.directory, runtimeOf(lab, node), pod, signal);
        stage.report(`${pod.name}: detached (DEL ${delMs.toFixed(1)} ms)`);
        times.push(delMs);
      }
    }),
  );
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
      text: "DEL, plugin processes from start to end",
      seen: formatTimes(times),
      isTrue: times.length === pods.length,
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
