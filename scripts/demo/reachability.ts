// Every pod to every other: ICMP, and TCP with data.
import { execute } from "../../cli/lab/execute.ts";
import { memberOf } from "../../cli/lab/directory.ts";
import type { Exchange } from "../../cli/lab/echo.ts";
import { startListener } from "../../cli/lab/listener.ts";
import { enter, runIn } from "../../cli/lab/member.ts";
import type { LabPod } from "../../cli/lab/pod.ts";
import { formatTable } from "../../cli/table.ts";
import { claimPaths, countByPair, formatPairs, startCapture } from "./capture.ts";
import type { Claim } from "./claim.ts";
import { addressOf, findPod, portOf, type Stage } from "./stage.ts";

/** One ordered pair of pods. */
export interface Reach {
  readonly from: string;
  readonly to: string;
  /** Empty when it worked. */
  readonly problem: string;
  /** What a table shows when it worked. */
  readonly shown: string;
}

const pingScript = `for address; do ping -n -c 1 -W 2 "$address" || true; done`;

const bytes = 64 * 1024;

/** Point 4, the first half: all ordered pairs, and the path that packets between nodes take. */
export async function reachPods(stage: Stage, pods: readonly LabPod[]): Promise<Claim[]> {
  const { lab, topology, cluster, command, show, signal } = stage;
  const { directory } = lab;
  await startServers(directory, pods, command, signal);
  const router = memberOf(directory, "router");
  const capture = await startCapture(router, cluster.nodes, topology, signal);
  const pings = await pingAll(directory, pods, signal);
  const { reaches, exchanges } = await exchangeAll(directory, pods, { command, bytes }, signal);
  const packets = await capture.stop();
  show("ping, round trip in ms (rows to columns)", formatMatrix(pods, pings));
  show(`TCP, ${bytes / 1024} KiB there and back, in ms`, formatMatrix(pods, reaches));
  show(
    "packets between nodes, captured on the underlay",
    formatPairs(countByPair(packets, topology)),
  );
  return [
    { text: "each pod pings each other pod", seen: summarize(pings), isTrue: isAllTrue(pings) },
    {
      text: `each pod sends each other pod ${bytes / 1024} KiB over TCP, and gets them back`,
      seen: summarize(reaches),
      isTrue: isAllTrue(reaches),
    },
    claimOwnAddress(pods, exchanges),
    ...claimPaths(packets, topology),
  ];
}

const isAllTrue = (reaches: readonly Reach[]): boolean =>
  reaches.length > 0 && reaches.every(({ problem }) => problem === "");

function claimOwnAddress(
  pods: readonly LabPod[],
  exchanges: readonly (Exchange & { readonly from: string })[],
): Claim {
  const wrong = exchanges.filter(({ from, peer }) => peer !== addressOf(findPod(pods, from)));
  const [first] = wrong;
  return {
    text: "each pod keeps its own source address inside the cluster (as the TCP peer sees it)",
    seen:
      first === undefined
        ? `${exchanges.length} of ${exchanges.length} connections`
        : `${first.from} was seen as ${first.peer || "nobody"} by ${first.target}`,
    isTrue: exchanges.length > 0 && wrong.length === 0,
  };
}

/** One echo request for each ordered pair. */
export async function pingAll(
  lab: string,
  pods: readonly LabPod[],
  signal: AbortSignal,
): Promise<Reach[]> {
  const rows = await Promise.all(
    pods.map(async (from) => {
      const others = pods.filter((to) => to !== from);
      const command = ["sh", "-c", pingScript, "sh", ...others.map(addressOf)];
      const output = await runIn(memberOf(lab, from.name), command, { signal });
      return others.map((to): Reach => {
        const answer = new RegExp(`bytes from ${RegExp.escape(addressOf(to))}: .*time=(\\S+) ms`);
        const ms = answer.exec(output)?.[1];
        const problem = ms === undefined ? "no answer" : "";
        return { from: from.name, to: to.name, problem, shown: ms ?? "" };
      });
    }),
  );
  return rows.flat();
}

/** An echo server in each pod. */
export async function startServers(
  lab: string,
  pods: readonly LabPod[],
  command: string,
  signal: AbortSignal,
): Promise<void> {
  await Promise.all(
    pods.map(async (pod) => {
      const port = portOf(pod);
      const start = {
        name: "echo",
        command: [command, "lab", "serve", "--port", String(port)],
      };
      await startListener(memberOf(lab, pod.name), start, { protocol: "tcp", port }, signal);
    }),
  );
}

/** Data there and back over TCP for each ordered pair; each server must see the pod's own address. */
export async function exchangeAll(
  lab: string,
  pods: readonly LabPod[],
  { command, bytes }: { readonly command: string; readonly bytes: number },
  signal: AbortSignal,
): Promise<{
  readonly reaches: Reach[];
  readonly exchanges: readonly (Exchange & { readonly from: string })[];
}> {
  const rows = await Promise.all(
    pods.map(async (from) => {
      const others = pods.filter((to) => to !== from);
      const targets = others.map((to) => `${addressOf(to)}:${portOf(to)}`);
      const exchanges = await exchangeFrom(lab, from, { command, bytes, targets }, signal);
      const reaches = others.map((to, index): Reach => {
        const done = exchanges[index];
        const problem =
          done === undefined
            ? "not tried"
            : done.problem || mismatch("answered by", done.server, to.name);
        return { from: from.name, to: to.name, problem, shown: done?.ms.toFixed(1) ?? "" };
      });
      return { reaches, exchanges: exchanges.map((done) => ({ ...done, from: from.name })) };
    }),
  );
  return {
    reaches: rows.flatMap(({ reaches }) => reaches),
    exchanges: rows.flatMap(({ exchanges }) => exchanges),
  };
}

/** Exchanges from one pod, one after the other. */
export async function exchangeFrom(
  lab: string,
  pod: LabPod,
  {
    command,
    bytes,
    targets,
  }: { readonly command: string; readonly bytes: number; readonly targets: readonly string[] },
  signal: AbortSignal,
): Promise<readonly Exchange[]> {
  const words = [command, "lab", "exchange", "--bytes", String(bytes), ...targets];
  const output = await execute([...enter(memberOf(lab, pod.name)), ...words], { signal });
  const exchanges: readonly Exchange[] = JSON.parse(output);
  return exchanges;
}

const mismatch = (what: string, seen: string, expected: string): string =>
  seen === expected ? "" : `${what} ${seen} instead of ${expected}`;

/** Rows are from, columns to. */
export function formatMatrix(pods: readonly LabPod[], reaches: readonly Reach[]): string {
  const cell = (from: string, to: string): string => {
    if (from === to) return "·";
    const reach = reaches.find((candidate) => candidate.from === from && candidate.to === to);
    return reach === undefined || reach.problem !== "" ? "FAILED" : reach.shown;
  };
  const names = pods.map((pod) => pod.name);
  return formatTable(
    [["", ...names], ...names.map((from) => [from, ...names.map((to) => cell(from, to))])],
    "  ",
  );
}

/** `30 of 30`, and the first problem when there is one. */
export function summarize(reaches: readonly Reach[]): string {
  const failed = reaches.filter(({ problem }) => problem !== "");
  const [first] = failed;
  const counts = `${reaches.length - failed.length} of ${reaches.length} pairs`;
  return first === undefined ? counts : `${counts}; ${first.from} → ${first.to}: ${first.problem}`;
}
