// Machines without a manifest become one cluster by an etcd of three members, which then meets with
// everything that may happen to it: no block held twice, no data path torn down.
//
//   node-a (etcd) ─┐ link 1             link 2 ┌─ node-c (etcd)
//                  ├──────────── router ───────┤
//   node-b (etcd) ─┘                           └
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { text } from "node:stream/consumers";
import { setTimeout } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { StatusReport } from "../../core/status.ts";
import { artifacts } from "../../cli/home.ts";
import { startDaemon } from "../../cli/lab/daemon.ts";
import { memberOf } from "../../cli/lab/directory.ts";
import { etcdCommand } from "../../cli/lab/etcd.ts";
import { logPath, startProcess } from "../../cli/lab/member-process.ts";
import { readRecord } from "../../cli/lab/process-record.ts";
import type { Topology } from "../../cli/lab/topology.ts";
import { type TestLab, testLab } from "../support/lab.ts";

const nodes = ["node-a", "node-b", "node-c"] as const;
type NodeName = (typeof nodes)[number];
// As much as all of it may take on a machine that does much else.
const waiting = { timeout: 60_000, interval: 200 };

let lab: TestLab;
let topology: Topology;
/** By pod. */
const addresses: Record<string, string> = {};

const run = (...args: readonly string[]): string => {
  const { status, stdout, stderr } = lab.run(...args);
  if (status !== 0) throw new Error(`lab ${args.join(" ")}: ${stderr}`);
  return stdout;
};
const inMember = (name: string, ...command: readonly string[]): string =>
  run("exec", name, "--", ...command);

/** Also of one that is not ready. */
const statusOf = (node: NodeName): StatusReport =>
  JSON.parse(lab.run("exec", node, "--", "fairlead", "status", "--json").stdout) as StatusReport;

function addPod(name: string, node: NodeName): string {
  const { addresses: own } = JSON.parse(run("pod", "add", name, "--node", node, "--json")) as {
    addresses: string[];
  };
  addresses[name] = own[0]!;
  return own[0]!;
}

const resolve = (pod: string, name: string): string =>
  lab.run("exec", pod, "--", "getent", "ahostsv4", name).stdout.split(/\s/)[0] ?? "";
const resolves = (pod: string, name: string, address: string): Promise<void> =>
  vi.waitFor(() => expect(resolve(pod, name)).toBe(address), waiting);

function endProcess(node: NodeName, name: string): Promise<void> {
  const record = readRecord(memberOf(lab.directory, node).directory, name)!;
  process.kill(record.pid, "SIGKILL");
  return vi.waitFor(() => expect(isRunning(record.pid)).toBe(false), waiting);
}

function isRunning(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}

function startEtcdOn(node: NodeName): void {
  const command = etcdCommand(
    topology.nodes.find(({ name }) => name === node)!,
    topology,
  );
  startProcess(memberOf(lab.directory, node), { name: "etcd", command });
}

/** Every node is in order, has its own block, and sees the others. */
const isWhole = (): Promise<void> =>
  vi.waitFor(() => {
    const all = nodes.map(statusOf);
    expect(all.map(({ problems }) => problems)).toEqual(nodes.map(() => []));
    expect(all.map(({ isReady, peers }) => [isReady, peers.length])).toEqual(
      nodes.map(() => [true, 2]),
    );
  }, waiting);

const noBlockTwice = (): void => {
  const blocks = nodes.flatMap((node) => statusOf(node).node.podCidrs);
  expect(blocks.length).toBeGreaterThanOrEqual(nodes.length);
  expect(new Set(blocks).size).toBe(blocks.length);
};

/** Counts what is lost between two pods of different nodes until stopped. */
function traffic(from: string, to: string) {
  const ping = lab.start("exec", from, "--", "ping", "-i", "0.05", "-w", "300", addresses[to]!);
  const output = Promise.all([text(ping.stdout!), text(ping.stderr!)]);
  return {
    lost: async (): Promise<number> => {
      // What comes after counts too, and a quick machine has sent few until now.
      await setTimeout(1_000);
      ping.kill("SIGINT");
      await once(ping, "exit");
      const said = (await output).join("");
      const [, sent, received] = /(\d+) packets transmitted, (\d+) received/.exec(said) ?? [];
      if (!(Number(sent) > 10)) throw new Error(`ping ${to} from ${from} says: ${said}`);
      // The last one may be on its way.
      return Math.max(0, Number(sent) - Number(received) - 1);
    },
  };
}

/** To other nodes' pods. */
const routes = (node: NodeName): readonly string[] =>
  inMember(node, "ip", "route", "show", "proto", "76")
    .split("\n")
    .filter((line) => line.includes(" via "));

describe("a cluster by etcd alone", () => {
  beforeAll(async () => {
    lab = await testLab();
    ({ topology } = JSON.parse(run("up", "--source", "etcd", "--json")) as { topology: Topology });
    for (const [pod, node] of [
      ["hello", "node-a"],
      ["world", "node-c"],
      ["third", "node-b"],
    ] as const) {
      addPod(pod, node);
    }
  });
  afterAll(() => void lab.run("down"));

  test("pods of different nodes reach each other, and by name", async () => {
    await isWhole();
    noBlockTwice();
    for (const [from, to] of [
      ["hello", "world"],
      ["third", "hello"],
      ["world", "third"],
    ] as const) {
      inMember(from, "ping", "-c", "1", "-W", "5", addresses[to]!);
      await resolves(from, to, addresses[to]!);
      await resolves(from, `${to}.fairlead.cluster.local`, addresses[to]!);
    }
  });

  test("a service is found on every node while a node publishes it", async () => {
    const name = "web.shop.svc.cluster.local";
    const service = ["fairlead", "service"];
    const options = ["web", "--namespace", "shop"];
    const endpoint = ["--port", "http=80", "--address", addresses["world"]!];
    inMember("node-c", ...service, "publish", ...options, ...endpoint);
    for (const pod of ["hello", "third", "world"]) await resolves(pod, name, addresses["world"]!);
    const listed = inMember("node-a", ...service, "list");
    expect(listed).toMatch(new RegExp(`shop/web +none +http=80/tcp +${addresses["world"]}@node-c`));
    inMember("node-c", ...service, "withdraw", ...options);
    await resolves("hello", name, "");
    await vi.waitFor(
      () => expect(inMember("node-a", ...service, "list")).toBe("no service\n"),
      waiting,
    );
    const again = lab.run("exec", "node-c", "--", ...service, "withdraw", ...options);
    expect([again.status, again.stderr]).toEqual([
      1,
      expect.stringContaining("this node publishes no endpoint of it"),
    ]);
  });

  test("names go with their pods", async () => {
    addPod("short", "node-b");
    await resolves("hello", "short", addresses["short"]!);
    run("pod", "rm", "short");
    await resolves("hello", "short", "");
  });

  test("a member that is killed is noticed by nobody", async () => {
    const before = nodes.map(routes);
    const flow = traffic("hello", "world");
    await endProcess("node-b", "etcd");
    const address = addPod("during", "node-b");
    await resolves("hello", "during", address);
    expect(nodes.map(routes)).toEqual(before);
    expect(await flow.lost()).toBe(0);
    await isWhole();
    run("pod", "rm", "during");
    startEtcdOn("node-b");
    await isWhole();
    noBlockTwice();
  });

  test("a member cut off from the others is left for one that is not", async () => {
    const before = nodes.map(routes);
    const flow = traffic("world", "hello");
    const rules = `table inet cut {
      chain in { type filter hook input priority 0; tcp dport 2380 drop; tcp sport 2380 drop; }
      chain out { type filter hook output priority 0; tcp dport 2380 drop; tcp sport 2380 drop; }
    }`;
    inMember("node-c", "sh", "-c", `echo '${rules}' | nft -f -`);
    try {
      const address = addPod("behind", "node-c");
      await resolves("hello", "behind", address);
      run("pod", "rm", "behind");
      await resolves("hello", "behind", "");
      expect(nodes.map(routes)).toEqual(before);
      noBlockTwice();
    } finally {
      inMember("node-c", "nft", "delete", "table", "inet", "cut");
    }
    await isWhole();
    expect(await flow.lost()).toBe(0);
  });

  test("without a quorum all goes on with what is known, through a daemon's restart too", async () => {
    const before = nodes.map(routes);
    const flow = traffic("hello", "world");
    await endProcess("node-b", "etcd");
    await endProcess("node-c", "etcd");
    await vi.waitFor(() => {
      for (const node of nodes) {
        const { problems, isReady } = statusOf(node);
        expect(isReady).toBe(true);
        expect(problems.map(({ area }) => area)).toContain("source");
        expect(problems.map(({ message }) => message).join()).toMatch(
          /172\.30\.\d\.1\d:2379.*what was read last stays in force/,
        );
      }
    }, waiting);
    expect(nodes.map(routes)).toEqual(before);
    const address = addPod("dark", "node-a");
    inMember("dark", "ping", "-c", "1", "-W", "5", addresses["world"]!);
    expect(resolve("dark", "world")).toBe(addresses["world"]);
    await resolves("hello", "dark", address);
    // A daemon that starts now goes by what this node knew, and removes nothing.
    await endProcess("node-a", "daemon");
    await startDaemon(
      memberOf(lab.directory, "node-a"),
      artifacts.command,
      AbortSignal.timeout(60_000),
    );
    await vi.waitFor(
      () =>
        expect(
          statusOf("node-a")
            .problems.map(({ message }) => message)
            .join(),
        ).toContain("the cluster is as this node knew it at 20"),
      waiting,
    );
    await resolves("hello", "world", addresses["world"]!);
    const later = addPod("later", "node-a");
    inMember("later", "ping", "-c", "1", "-W", "5", addresses["third"]!);
    expect(later).not.toBe(address);
    expect(nodes.map(routes)).toEqual(before);
    startEtcdOn("node-b");
    startEtcdOn("node-c");
    await isWhole();
    noBlockTwice();
    for (const pod of ["dark", "later"]) await resolves("world", pod, addresses[pod]!);
    expect(await flow.lost()).toBe(0);
    expect(nodes.map(routes)).toEqual(before);
  });

  test("its log names what was wrong, once each, and no password", () => {
    const log = readFileSync(logPath(memberOf(lab.directory, "node-b"), "daemon"), "utf8");
    const problems = log.split("\n").filter((line) => line.includes("problem of the source"));
    expect(problems.length).toBeGreaterThan(0);
    expect(problems.length).toBeLessThan(60);
  });
});

test("a lab of one node has an etcd of one member, and leaves nothing behind", async () => {
  const one = await testLab();
  try {
    const up = one.run("up", "--source", "etcd", "--nodes", "1");
    expect([up.status, up.stderr]).toEqual([0, expect.stringContaining("node-a: daemon ready")]);
    expect(up.stderr).toContain("etcd: http://172.30.1.11:2379\n");
  } finally {
    one.run("down");
  }
  expect(one.processes()).toEqual([]);
  expect(one.run("up", "--source", "etcd", "--cluster", "/nowhere").status).toBe(2);
  expect(one.run("up", "--source", "consul").stderr).toContain("expected file or etcd");
});
