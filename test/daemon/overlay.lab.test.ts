// The reconcile loop of three nodes on the real kernel: see three-nodes.ts for the drawing.
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { spawn } from "node:child_process";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { formatNftTable } from "../../core/nft.ts";
import { timeLived } from "../support/lived.ts";
import type { TestNamespace } from "../support/netns.ts";
import {
  type NodeName,
  outsideAddress,
  ping,
  type RunningNode,
  ThreeNodes,
  waiting,
} from "./three-nodes.ts";

const patient = {
  pauseMs: 10,
  resyncMs: 3_600_000,
  fullMs: 3_600_000,
  fullShare: 1,
  backoffMs: 100,
  backoffMaxMs: 5000,
};

/** Everything of ours in the node's kernel, as text. */
const stateOf = (node: TestNamespace): string =>
  [
    node.run("ip", "-d", "link", "show", "fl-vxlan").replace(/^\d+: /, ""),
    node.run("ip", "address", "show", "fl-vxlan").replace(/^\d+: /, ""),
    node.run("ip", "neighbor", "show", "dev", "fl-vxlan"),
    node.run("bridge", "fdb", "show", "dev", "fl-vxlan"),
    node.run("ip", "route", "show", "proto", "76"),
    node.run("ip", "route", "show", "table", "local", "proto", "76"),
    node.run("nft", "list", "table", "inet", "fairlead"),
  ].join("");

/** What a capture on the node's underlay sees while `work` runs. */
async function captured(node: TestNamespace, filter: string, work: () => void): Promise<string> {
  const args = ["netns", "exec", node.name, "tcpdump", "-lnni", "eth0", "--immediate-mode", filter];
  const child = spawn("ip", args, { stdio: ["ignore", "pipe", "pipe"] });
  let [seen, ready] = ["", ""];
  child.stdout.on("data", (chunk: Buffer) => (seen += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (ready += chunk.toString()));
  await vi.waitFor(() => expect(ready).toContain("listening on"), waiting);
  work();
  await new Promise((resolve) => setTimeout(resolve, 100));
  child.kill("SIGINT");
  await new Promise((resolve) => child.once("exit", resolve));
  return seen;
}

describe("three nodes", () => {
  let lab: ThreeNodes;
  let running: Record<NodeName, RunningNode>;
  let pods: Record<string, TestNamespace>;

  beforeAll(async () => {
    lab = new ThreeNodes();
    running = await lab.startAll();
    pods = {
      "10.244.1.2": lab.addPod("node-a", "10.244.1.2"),
      "10.244.1.3": lab.addPod("node-a", "10.244.1.3"),
      "10.244.2.2": lab.addPod("node-b", "10.244.2.2"),
      "10.244.3.2": lab.addPod("node-c", "10.244.3.2"),
    };
  });
  afterAll(() => lab[Symbol.asyncDispose]());

  test("are told apart by the way to them", async () => {
    const { plan, problems } = await running["node-a"].programmed();
    const paths = Array.from(plan.peers.values(), ({ node, path }) => [node.name, path]);
    expect(Object.fromEntries(paths)).toEqual({ "node-b": "direct", "node-c": "vxlan" });
    expect(problems).toEqual([]);
  });

  test("carry every pod to every other", () => {
    for (const [from, pod] of Object.entries(pods)) {
      for (const to of Object.keys(pods)) {
        if (from !== to) expect(ping(pod, to)).toContain("1 received");
      }
    }
  });

  test("reach pods of other nodes themselves, under a strict reverse path filter", () => {
    expect(ping(lab.nodes["node-a"], "10.244.3.2")).toContain("1 received");
    expect(ping(lab.nodes["node-c"], "10.244.1.2")).toContain("1 received");
    expect(ping(lab.nodes["node-b"], "10.244.1.2")).toContain("1 received");
  });

  test("send to a node behind a router as VXLAN, and to a node on the link as it is", async () => {
    const { "10.244.1.2": pod } = pods;
    const routed = await captured(lab.nodes["node-a"], "udp port 4789", () =>
      ping(pod!, "10.244.3.2"),
    );
    expect(routed).toMatch(
      /172\.30\.1\.11\.\d+ > 172\.30\.2\.13\.4789: VXLAN, flags \[I\] \(0x08\), vni 1/,
    );
    expect(routed).toMatch(/10\.244\.1\.2 > 10\.244\.3\.2: ICMP echo request/);
    const direct = await captured(lab.nodes["node-a"], "icmp or udp", () =>
      ping(pod!, "10.244.2.2"),
    );
    expect(direct).toMatch(/IP 10\.244\.1\.2 > 10\.244\.2\.2: ICMP echo request/);
    expect(direct).not.toContain("VXLAN");
  });

  test("masquerade what leaves the cluster, and nothing else (masq-01)", async () => {
    const { "10.244.3.2": pod } = pods;
    const outside = await captured(lab.outside, "icmp", () => ping(pod!, outsideAddress));
    expect(outside).toContain("172.30.2.13 > 198.51.100.9: ICMP echo request");
    const inside = await captured(pods["10.244.1.2"]!, "icmp", () => ping(pod!, "10.244.1.2"));
    expect(inside).toContain("10.244.3.2 > 10.244.1.2: ICMP echo request");
  });

  test("masquerade with ports drawn at random, not with the pod's own", async () => {
    const { "10.244.3.2": pod } = pods;
    const node = lab.nodes["node-c"];
    expect(node.run("nft", "list", "chain", "inet", "fairlead", "postrouting")).toMatch(
      /ip saddr @pods4 ip daddr != @inside4 masquerade fully-random/,
    );
    const ports = Array.from({ length: 12 }, (_, i) => 40_001 + i);
    const script = `for (const port of ${JSON.stringify(ports)}) {
      const socket = require("dgram").createSocket("udp4");
      socket.bind(port, () => socket.send("x", 9, "${outsideAddress}", () => socket.close()));
    }`;
    const seen = await captured(lab.outside, "udp port 9", () =>
      pod!.run(process.execPath, "-e", script),
    );
    const used = Array.from(seen.matchAll(/172\.30\.2\.13\.(\d+) > /g), ([, port]) => Number(port));
    expect(used).toHaveLength(ports.length);
    // One of them may be drawn by chance, and the kernel draws again where two are the same.
    expect(used.filter((port) => ports.includes(port)).length).toBeLessThan(3);
    expect(new Set(used).size).toBe(ports.length);
  });

  test("do not track the tunnel's packets", () => {
    ping(pods["10.244.1.2"]!, "10.244.3.2");
    const tracked = lab.nodes["node-a"].run("cat", "/proc/net/nf_conntrack");
    expect(tracked).toContain("dst=10.244.3.2");
    expect(tracked).not.toContain("dport=4789");
  });

  test("carry a packet of the pods' MTU, and no larger one, through the tunnel", async () => {
    const { plan } = await running["node-a"].programmed();
    expect(plan.local?.mtu).toBe(1450);
    const sized = (octets: number) =>
      pods["10.244.1.2"]!.run("ping", "-c1", "-W2", "-Mdo", `-s${octets - 28}`, "10.244.3.2");
    expect(sized(1450)).toContain("1 received");
    expect(() => sized(1451)).toThrow("Command failed");
  });

  test("answer for an address that no pod has, instead of sending it away", () => {
    expect(() => ping(lab.nodes["node-a"], "10.244.1.77")).toThrow("Command failed");
    const { stdout } = run(pods["10.244.3.2"]!, "ping -c1 -W1 10.244.1.77");
    expect(stdout).toContain("Destination Host Unreachable");
  });

  test("have the table that was planned, as nft reads it", async () => {
    const { plan } = await running["node-a"].programmed();
    const listed = lab.nodes["node-a"].run("nft", "list", "table", "inet", "fairlead");
    expect(listed).toBe(formatNftTable(plan.local!.table));
  });

  test.each([
    ["a route", "ip route del 10.244.3.0/24"],
    ["a direct route", "ip route del 10.244.2.0/24"],
    ["a neighbor", "ip neighbor del 10.244.3.0 dev fl-vxlan"],
    [
      "an altered neighbor",
      "ip neighbor replace 10.244.3.0 lladdr 02:00:00:00:00:01 dev fl-vxlan nud permanent",
    ],
    ["an FDB entry", "bridge fdb del ca:58:fd:4d:76:c9 dev fl-vxlan dst 172.30.2.13 self"],
    [
      "an altered FDB entry",
      "bridge fdb replace ca:58:fd:4d:76:c9 dev fl-vxlan dst 172.30.2.99 self",
    ],
    [
      "a second FDB destination",
      "bridge fdb append 00:00:00:00:00:00 dev fl-vxlan dst 172.30.2.99 self",
    ],
    ["the address", "ip address flush dev fl-vxlan"],
    ["another address", "ip address add 192.0.2.1/24 dev fl-vxlan"],
    ["the device's MTU", "ip link set fl-vxlan mtu 1300"],
    ["the device's MAC", "ip link set fl-vxlan address 02:00:00:00:00:02"],
    ["the device's state", "ip link set fl-vxlan down"],
    ["the device's alias", "ip link set fl-vxlan alias stolen"],
    ["the device", "ip link del fl-vxlan"],
    [
      "a route that was replaced",
      "ip route replace 10.244.3.0/24 via 172.30.1.1 proto 76 metric 4",
    ],
    ["a service address", "ip route del local 10.96.0.10 table local"],
  ])("put back %s at once", async (_, command) => {
    const node = lab.nodes["node-a"];
    const before = stateOf(node);
    const { repairs } = running["node-a"].reconciler.counters;
    const counted = Object.values(repairs).reduce((sum, count) => sum + count);
    node.run("sh", "-c", command);
    const [, elapsedMs] = await timeLived(() =>
      vi.waitFor(
        () =>
          expect(running["node-a"].reconciler.counters.repairs).toSatisfy(
            (now: typeof repairs) => Object.values(now).reduce((sum, n) => sum + n) > counted,
          ),
        { ...waiting, interval: 1 },
      ),
    );
    expect(elapsedMs).toBeLessThan(500);
    await vi.waitFor(() => expect(stateOf(node)).toBe(before), waiting);
    expect(ping(pods["10.244.1.2"]!, "10.244.3.2")).toContain("1 received");
  });

  test.each([
    ["the table", "nft delete table inet fairlead"],
    ["a chain", "nft flush chain inet fairlead postrouting"],
    ["an element", "nft delete element inet fairlead inside4 { 224.0.0.0/4 }"],
    ["a rule of somebody else", "nft add rule inet fairlead postrouting counter"],
    ["forwarding", "sysctl -qw net.ipv4.ip_forward=0"],
    ["the device's filter", "sysctl -qw net.ipv4.conf.fl-vxlan.rp_filter=1"],
  ])("put back %s at once too", async (_, command) => {
    // One that looks for what notifies of nothing in an hour only.
    running["node-b"][Symbol.dispose]();
    running["node-b"] = lab.start("node-b", { timing: patient });
    await running["node-b"].programmed();
    const node = lab.nodes["node-b"];
    const state = (): string =>
      node.run("nft", "list", "ruleset") +
      node.run("sysctl", "net.ipv4.ip_forward", "net.ipv4.conf.fl-vxlan.rp_filter");
    const before = state();
    node.run("sh", "-c", command);
    await vi.waitFor(() => expect(state()).toBe(before), waiting);
  });

  test("leave what is not theirs", async () => {
    const node = lab.nodes["node-b"];
    node.run("ip", "route", "add", "203.0.113.0/24", "via", "172.30.1.1");
    node.run("nft", "add table inet other");
    node.run("ip", "route", "del", "10.244.3.0/24");
    await vi.waitFor(() => expect(node.run("ip", "route")).toContain("10.244.3.0/24"), waiting);
    expect(node.run("ip", "route")).toContain("203.0.113.0/24 via 172.30.1.1");
    expect(node.run("ip", "route")).toContain("10.244.2.2 dev fl");
    expect(node.run("nft", "list", "tables")).toContain("table inet other");
  });

  test("keep carrying when the daemon stops, and change nothing when it starts again", async () => {
    const node = lab.nodes["node-c"];
    const before = stateOf(node);
    running["node-c"][Symbol.dispose]();
    expect(ping(pods["10.244.3.2"]!, "10.244.1.2")).toContain("1 received");
    expect(stateOf(node)).toBe(before);
    const watch = spawn("ip", ["-n", node.name, "monitor", "route", "link", "neigh", "address"]);
    let changes = "";
    watch.stdout.on("data", (chunk: Buffer) => (changes += chunk.toString()));
    running["node-c"] = lab.start("node-c");
    await running["node-c"].programmed();
    expect(stateOf(node)).toBe(before);
    watch.kill();
    await new Promise((resolve) => watch.once("exit", resolve));
    expect(changes.split("\n").filter((line) => /fl-vxlan|proto 76/.test(line))).toEqual([]);
  });

  test("say so when the machine has no way to a node, and carry again when it has", async () => {
    const { "node-a": a } = running;
    const node = lab.nodes["node-a"];
    const found = () => ({
      unrouted: [...(a.reconciler.state()?.unrouted ?? [])],
      problems: a.reconciler.state()?.problems.map(({ message }) => message),
    });
    const before = stateOf(node);
    node.run("ip", "link", "set", "eth0", "down");
    node.run("ip", "link", "set", "eth0", "up");
    await vi.waitFor(() => expect(found().unrouted).toEqual(["node-c"]), waiting);
    await vi.waitFor(() => expect(stateOf(node)).toBe(before), waiting);
    expect(found().problems?.join()).toMatch(/^Cannot reach 172.30.2.13 of Node node-c: no route/);
    expect(ping(pods["10.244.1.2"]!, "10.244.2.2")).toContain("1 received");
    expect(() => ping(pods["10.244.1.2"]!, "10.244.3.2")).toThrow("Command failed");
    node.run("ip", "route", "add", "default", "via", "172.30.1.1");
    await vi.waitFor(() => expect(found()).toEqual({ unrouted: [], problems: [] }), waiting);
    expect(ping(pods["10.244.1.2"]!, "10.244.3.2")).toContain("1 received");
  });

  test("keep carrying when most nodes vanish from the manifests together", async () => {
    const { "node-a": a } = running;
    const problems = (): readonly string[] =>
      a.reconciler.state()?.problems.map(({ message }) => message) ?? [];
    const before = stateOf(lab.nodes["node-a"]);
    writeNodes(lab.clusterOf("node-a"), ["node-a"]);
    await vi.waitFor(() => expect(problems()[0]).toContain("2 vanished together"), waiting);
    expect(stateOf(lab.nodes["node-a"])).toBe(before);
    expect(ping(pods["10.244.1.2"]!, "10.244.3.2")).toContain("1 received");
    writeNodes(lab.clusterOf("node-a"), ["node-a", "node-b", "node-c"]);
    await vi.waitFor(() => expect(problems()).toEqual([]), waiting);
    expect(stateOf(lab.nodes["node-a"])).toBe(before);
  });

  test("remove a node that has gone, also one that went while the daemon was stopped", async () => {
    const { "node-a": a } = running;
    expect(a.source.state().snapshot.nodes.size).toBe(3);
    a[Symbol.dispose]();
    writeNodes(lab.clusterOf("node-a"), ["node-a", "node-b"]);
    writeFileSync(join(lab.clusterOf("node-a"), "broken.yaml"), "kind: [");
    running["node-a"] = lab.start("node-a");
    await running["node-a"].programmed();
    // Not before every file has been good: the broken one might have it.
    expect(lab.nodes["node-a"].run("ip", "route")).toContain("10.244.3.0/24");
    rmSync(join(lab.clusterOf("node-a"), "broken.yaml"));
    await vi.waitFor(() => {
      expect(lab.nodes["node-a"].run("ip", "route")).not.toContain("10.244.3.0/24");
    }, waiting);
    expect(lab.nodes["node-a"].run("bridge", "fdb", "show", "dev", "fl-vxlan")).toBe("");
  });
});

function writeNodes(directory: string, names: readonly string[]): void {
  const manifests = names.map((name) => {
    const n = name.charCodeAt(5) - 96;
    const address = n === 3 ? "172.30.2.13" : `172.30.1.1${n}`;
    return `---\n${JSON.stringify({
      apiVersion: "v1",
      kind: "Node",
      metadata: { name },
      spec: { podCIDRs: [`10.244.${n}.0/24`] },
      status: { addresses: [{ type: "InternalIP", address }] },
    })}\n`;
  });
  writeFileSync(join(directory, "nodes.yaml"), manifests.join(""));
}

function run(namespace: TestNamespace, command: string): { readonly stdout: string } {
  return { stdout: namespace.run("sh", "-c", `${command}; true`) };
}
