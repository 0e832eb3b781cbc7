// Two nodes of the lab with the Kubernetes API as their cluster: the API server is outside, behind the router.
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { stringify } from "yaml";
import type { StatusReport } from "../../core/status.ts";
import { artifacts } from "../../cli/home.ts";
import { startDaemon } from "../../cli/lab/daemon.ts";
import { memberOf } from "../../cli/lab/directory.ts";
import { outsidePath } from "../../cli/lab/node.ts";
import { readRecord } from "../../cli/lab/process-record.ts";
import { planTopology } from "../../cli/lab/topology.ts";
import { demoCluster } from "../../cli/lab/cluster.ts";
import type { Command } from "../support/api-server/serve.ts";
import { type TestLab, testLab } from "../support/lab.ts";
import { serviceExample } from "../support/source-objects.ts";

const waiting = { timeout: 60_000, interval: 50 };
const { signal } = new AbortController();
const demo = join(import.meta.dirname, "../../conf/demo");
const names = ["node-a", "node-b"] as const;
const server = join(import.meta.dirname, "../support/api-server/serve.ts");
const directory = mkdtempSync(join(tmpdir(), "fairlead-api-"));
const control = join(directory, "control");
let lab: TestLab;

async function tell(command: Command): Promise<unknown> {
  const socket = connect(control);
  await once(socket, "connect");
  socket.write(`${JSON.stringify(command)}\n`);
  return JSON.parse(await text(socket));
}

function exec(member: string, ...command: readonly string[]): string {
  const { stdout, stderr, status } = lab.run("exec", member, "--", ...command);
  if (status !== 0) throw new Error(`${member}: ${command.join(" ")}: ${stdout}${stderr}`);
  return stdout;
}

const statusOf = (node: string): StatusReport =>
  JSON.parse(exec(node, artifacts.command, "status", "--json")) as StatusReport;

/** As a killed daemon's supervisor does it. */
async function restart(node: string): Promise<void> {
  const member = memberOf(lab.directory, node);
  const daemon = readRecord(member.directory, "daemon");
  expect(daemon).toBeDefined();
  process.kill(daemon!.pid, "SIGKILL");
  await vi.waitFor(() => expect(readRecord(member.directory, "daemon")).toBeUndefined(), waiting);
  await startDaemon(member, artifacts.command, signal);
}

function addPod(name: string, node: string): string {
  const { stdout, stderr, status } = lab.run("pod", "add", name, "--node", node, "--json");
  expect(stderr + stdout).toContain("10.244.");
  expect(status).toBe(0);
  return /10\.244\.\d+\.\d+/.exec(stdout)![0];
}

const resolves = (pod: string, name: string, address: string): Promise<void> =>
  vi.waitFor(() => expect(exec(pod, "getent", "ahostsv4", name)).toContain(address), waiting);

beforeAll(async () => {
  lab = await testLab();
  const { status, stderr } = lab.run("up", "--nodes", "2");
  if (status !== 0) throw new Error(stderr);
  const { outside } = planTopology(demoCluster(demo, 2).nodes);
  lab.start(
    "exec",
    "outside",
    "--",
    process.execPath,
    server,
    outside.address,
    "6443",
    control,
    demo,
  );
  await vi.waitUntil(() => existsSync(control), waiting);
  for (const name of names) {
    const member = memberOf(lab.directory, name);
    const kubeconfig = {
      "current-context": "lab",
      contexts: [{ name: "lab", context: { cluster: "lab", user: "lab" } }],
      clusters: [{ name: "lab", cluster: { server: `http://${outside.address}:6443` } }],
      users: [{ name: "lab" }],
    };
    writeFileSync(outsidePath(member, "/etc/fairlead/kubeconfig"), stringify(kubeconfig));
    const config = {
      nodeName: name,
      cluster: { source: "kubernetes", kubernetes: { kubeconfig: "/etc/fairlead/kubeconfig" } },
      network: { interface: "eth0" },
      dns: { upstreams: [outside.address] },
    };
    writeFileSync(outsidePath(member, "/etc/fairlead/fairlead.yaml"), stringify(config));
  }
});
afterAll(() => {
  lab.run("down");
  rmSync(directory, { recursive: true });
});

const isWell = (node: string): Promise<void> =>
  vi.waitFor(() => {
    const { source, isReady, problems } = statusOf(node);
    expect(problems).toEqual([]);
    expect([source.kind, source.isInSync, isReady]).toEqual(["kubernetes", true, true]);
  }, waiting);

describe("two nodes by the Kubernetes API", () => {
  let two = "";

  test("take over from manifests, and their pods never notice", async () => {
    addPod("one", "node-a");
    two = addPod("two", "node-b");
    expect(exec("one", "ping", "-c1", "-W5", two)).toContain("1 received");
    for (const name of names) await restart(name);
    for (const name of names) await isWell(name);
    expect(exec("one", "ping", "-c1", "-W5", two)).toContain("1 received");
    await resolves("one", "web.demo.svc.cluster.local", "10.96.");
  });

  test("say that their network is there", async () => {
    const object = { apiVersion: "v1", kind: "Node", metadata: { name: "node-a" } };
    await vi.waitFor(async () => {
      expect(JSON.stringify(await tell({ do: "get", object }))).toContain(
        '"type":"NetworkUnavailable","status":"False","reason":"FairleadReady"',
      );
    }, waiting);
  });

  test("go on while the API is away: pods, new pods, names, and a daemon that starts", async () => {
    const copy = outsidePath(memberOf(lab.directory, "node-a"), "/var/lib/fairlead/cluster.jsonl");
    await vi.waitFor(() => expect(existsSync(copy)).toBe(true), waiting);
    await tell({ do: "stop" });
    await vi.waitFor(() => {
      const [problem] = statusOf("node-a").problems;
      expect(problem!.message).toContain("ECONNREFUSED");
    }, waiting);
    await restart("node-a");
    await vi.waitFor(() => {
      const { isReady, problems, source } = statusOf("node-a");
      const told = problems.map(({ message }) => message).join("\n");
      expect(told).toContain("The cluster is as this node knew it at");
      expect([isReady, source.isInSync]).toEqual([true, false]);
    }, waiting);
    expect(exec("one", "ping", "-c1", "-W5", two)).toContain("1 received");
    addPod("three", "node-a");
    expect(exec("three", "ping", "-c1", "-W5", two)).toContain("1 received");
    await resolves("three", "web.demo.svc.cluster.local", "10.96.");
    await resolves("three", "db.demo.svc.cluster.local", "10.244.");
  });

  test("catch up when it is back, also where it has forgotten what came since", async () => {
    const late = serviceExample("late", 80).object;
    const spec = { ...(late["spec"] as object), clusterIP: "10.96.7.7", clusterIPs: ["10.96.7.7"] };
    await tell({ do: "put", object: { ...late, spec } });
    await tell({ do: "compact" });
    await tell({ do: "start" });
    for (const name of names) await isWell(name);
    await resolves("three", "late.demo.svc.cluster.local", "10.96.7.7");
    expect(exec("one", "ping", "-c1", "-W5", two)).toContain("1 received");
    expect(exec("node-a", "ip", "route", "show", "proto", "76")).toContain("10.244.2.0/24");
  });
});
