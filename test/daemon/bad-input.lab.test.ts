// What a node may meet that cannot be used, on a machine of its own: the daemon names it in `fairlead status` and
// counts it in its metrics, keeps the rest, and goes on by itself when the cause is gone.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { StatusReport } from "../../core/status.ts";
import { type DaemonProcess, TestMachine } from "./node-process.ts";

const root = join(import.meta.dirname, "../..");
const manifests = "/etc/fairlead/cluster.d";
const waiting = { timeout: 40_000, interval: 20 };

/** Without one or the other where that is what is wrong. */
const aNode = (name: string, address: string, podCidr: string): string => {
  const addresses = address === "" ? "" : `{ type: InternalIP, address: ${address} }`;
  return `apiVersion: v1
kind: Node
metadata: { name: ${name} }
spec: { podCIDRs: [${podCidr}] }
status: { addresses: [${addresses}] }
`;
};

describe("a daemon that meets what it cannot use", () => {
  let machine: TestMachine;
  let daemon: DaemonProcess;
  beforeAll(async () => {
    machine = await TestMachine.open();
    const demo = readFileSync(join(root, "conf/demo/nodes.yaml"), "utf8");
    machine.write(`${manifests}/nodes.yaml`, demo);
    daemon = machine.startDaemon();
    await machine.ready();
  });
  afterAll(() => machine[Symbol.asyncDispose]());

  const run = (words: string): string => machine.run("sh", "-c", words);
  /** What an operator sees. */
  const status = (): string => machine.run(process.execPath, join(root, "cli/main.ts"), "status");
  /** Of the metrics as they are now. */
  const metrics = (): ((name: string) => number) => {
    const get = `fetch("http://127.0.0.1:9440/metrics").then(async (r) => console.log(await r.text()))`;
    const lines = machine.run(process.execPath, "-e", get).split("\n");
    return (name) =>
      Number(
        lines
          .find((line) => line.startsWith(`${name} `))
          ?.split(" ")
          .at(-1),
      );
  };
  const problemsIn = (area: StatusReport["problems"][number]["area"]): string =>
    `fairlead_problems{area="${area}"}`;
  const hasProblem = (part: string): Promise<StatusReport> =>
    machine.status((report) => report.problems.some(({ message }) => message.includes(part)));
  /** Whoever is on the link is reached, whatever becomes of the tunnel. */
  const keepsTheRest = (): void => {
    expect(run("ip route")).toContain("10.244.2.0/24 via 172.30.1.12 dev eth0");
    expect(run("nft list table inet fairlead")).toContain("chain postrouting");
    expect(run("dig +short @10.96.0.10 node-a.nodes.cluster.local; true")).not.toContain("timed");
  };
  const isWhole = async (): Promise<void> => {
    const report = await machine.status(
      ({ isReady, problems }) => isReady && problems.length === 0,
    );
    expect(report.problems).toEqual([]);
    expect(run("ip route")).toContain("10.244.3.0/24 via 10.244.3.0 dev fl-vxlan");
    expect(run("ip -d link show fl-vxlan")).toContain("vxlan id 1 local 172.30.1.11 dev eth0");
    expect(status()).not.toContain("Cannot");
    const of = metrics();
    expect(of("fairlead_ready")).toBe(1);
    for (const area of ["kernel", "cluster", "node"] as const) expect(of(problemsIn(area))).toBe(0);
  };

  test.each([
    ["bridge", "type bridge"],
    ["veth", "type veth peer name other0"],
    ["vxlan", "type vxlan id 99 dstport 9999"],
  ])("a device of somebody else's has the name of ours: %s", async (type, words) => {
    const settings = ["forwarding", "rp_filter"].map((name) => `net.ipv4.conf.fl-vxlan.${name}`);
    const shown = (): string =>
      [run("ip -d link show fl-vxlan"), run(`sysctl ${settings.join(" ")}`)]
        .join("")
        .replaceAll(/timer +[0-9.]+/g, "");
    // It would make its own again at once, and be faster.
    daemon.kill("SIGSTOP");
    run(`ip link del fl-vxlan && ip link add fl-vxlan ${words}`);
    const foreign = shown();
    expect(foreign).toMatch(type === "vxlan" ? /vxlan id 99 / : new RegExp(`\\b${type} `));
    daemon.kill("SIGCONT");
    const line = `Cannot make fl-vxlan: a ${type} device of this name is there that fairlead did not make; expected it removed or renamed`;
    const { isReady } = await hasProblem(line);
    expect(isReady).toBe(false);
    expect(status()).toContain(line);
    const of = metrics();
    expect([of(problemsIn("kernel")), of("fairlead_ready")]).toEqual([1, 0]);
    keepsTheRest();
    expect(shown()).toBe(foreign);
    run("ip link del fl-vxlan");
    await isWhole();
  });

  test.each([
    [
      "another VXLAN device",
      "ip link add vx type vxlan id 9 dstport 4789 dev eth0 gbp",
      "ip link del vx",
    ],
    [
      "a program",
      `${process.execPath} -e 'require("dgram").createSocket("udp4").bind(4789)' & echo $! >/run/pid`,
      "kill $(cat /run/pid)",
    ],
  ])("%s has the UDP port", async (_, take, give) => {
    daemon.kill("SIGTERM");
    await daemon.ended;
    run("ip link del fl-vxlan");
    run(`{ ${take}; } >/dev/null 2>&1; ip link set vx up; true`);
    await vi.waitFor(() => expect(run("ss -lun")).toContain(":4789"), waiting);
    daemon = machine.startDaemon();
    const line = `Cannot apply "ip link set dev fl-vxlan up": EADDRINUSE: another program or device uses UDP port 4789 of network.vxlan.port`;
    await hasProblem(line);
    expect(status()).toContain(line);
    const of = metrics();
    expect([of(problemsIn("kernel")), of("fairlead_ready")]).toEqual([1, 0]);
    expect(of("fairlead_reconcile_failures_total")).toBeGreaterThan(0);
    keepsTheRest();
    run(give);
    await isWhole();
  });

  test.each([
    {
      what: "a pod CIDR is another's too",
      manifest: aNode("node-d", "172.30.2.14", "10.244.3.0/24"),
      area: "cluster" as const,
      line: "Cannot use pod CIDR 10.244.3.0/24 of Node node-d: it overlaps that of the older Node node-c",
    },
    {
      what: "an address is another's too",
      manifest: aNode("node-d", "172.30.2.13", "10.244.4.0/24"),
      area: "cluster" as const,
      line: "Cannot use address 172.30.2.13 of Node node-d: it is Node node-c's",
    },
    {
      what: "an address is this node's too",
      manifest: aNode("node-d", "172.30.1.11", "10.244.4.0/24"),
      area: "cluster" as const,
      line: "Cannot use address 172.30.1.11 of Node node-d: it is Node node-a's",
    },
    {
      what: "a node has no address",
      manifest: aNode("node-d", "", "10.244.4.0/24"),
      area: "cluster" as const,
      line: "Cannot reach Node node-d: status.addresses has no InternalIP",
    },
  ])("$what", async ({ manifest, area, line }) => {
    machine.write(`${manifests}/d.yaml`, manifest);
    const report = await hasProblem(line);
    // Nothing is the matter with this node.
    expect(report.isReady).toBe(true);
    expect(report.peers.find(({ name }) => name === "node-d")?.path).toBe("none");
    expect(status()).toContain(line);
    const of = metrics();
    expect(of(problemsIn(area))).toBeGreaterThan(0);
    expect(of('fairlead_peers{path="none"}')).toBe(1);
    keepsTheRest();
    expect(run("ip route")).toContain("10.244.3.0/24 via 10.244.3.0 dev fl-vxlan");
    expect(run("bridge fdb show dev fl-vxlan")).toContain("dst 172.30.2.13 ");
    machine.write(`${manifests}/d.yaml`, aNode("node-d", "172.30.2.14", "10.244.4.0/24"));
    await isWhole();
    expect(run("ip route")).toContain("10.244.4.0/24 via 10.244.4.0 dev fl-vxlan");
    expect(metrics()('fairlead_peers{path="vxlan"}')).toBe(2);
  });

  test("this node has no address", async () => {
    const routes = run("ip route show proto 76");
    const good = readFileSync(machine.path(`${manifests}/nodes.yaml`), "utf8");
    machine.write(
      `${manifests}/nodes.yaml`,
      good.replace("- { type: InternalIP, address: 172.30.1.11 }", ""),
    );
    const line = "Cannot choose an interface: this Node has no InternalIP";
    const { isReady } = await hasProblem(line);
    expect(isReady).toBe(false);
    expect(status()).toContain(line);
    const of = metrics();
    expect([of(problemsIn("node")), of("fairlead_ready")]).toEqual([1, 0]);
    expect(run("ip route show proto 76")).toBe(routes);
    machine.write(`${manifests}/nodes.yaml`, good);
    await isWhole();
  });
});
