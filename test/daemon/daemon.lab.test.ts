// The daemon as a process on a machine of its own: start, stop, crash, and what an operator gets wrong.
import {
  existsSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { lastingRules } from "./lasting-rules.ts";
import { TestMachine } from "./node-process.ts";

const demo = join(import.meta.dirname, "../../conf/demo");
const cluster = "/etc/fairlead/cluster.d";
const conflist = "/etc/cni/net.d/10-fairlead.conflist";
const waiting = { timeout: 40_000, interval: 10 };

const manifest = (name: string, address: string, podCidr: string): string =>
  `apiVersion: v1
kind: Node
metadata: { name: ${name} }
spec: { podCIDRs: [${podCidr}] }
status: { addresses: [{ type: InternalIP, address: ${address} }] }
`;

describe("fairlead daemon", () => {
  let machine: TestMachine;
  beforeEach(async () => {
    machine = await TestMachine.open();
    for (const name of readdirSync(demo)) {
      machine.write(`${cluster}/${name}`, readFileSync(join(demo, name), "utf8"));
    }
  });
  afterEach(() => machine[Symbol.asyncDispose]());

  const kernelState = (): string =>
    [
      machine.run("ip", "-o", "address", "show", "dev", "fl-vxlan"),
      machine.run("ip", "route", "show", "proto", "76"),
      machine.run("ip", "route", "show", "table", "local", "proto", "76"),
      machine.run("ip", "neighbor", "show", "dev", "fl-vxlan"),
      machine.run("bridge", "fdb", "show", "dev", "fl-vxlan"),
      lastingRules(machine.run("nft", "list", "ruleset")),
    ].join("");
  const filesOf = (): string[] =>
    ["/run/fairlead/node.json", conflist].map((path) => {
      const { mtimeMs, ino } = statSync(machine.path(path));
      return `${path} ${ino} ${mtimeMs} ${readFileSync(machine.path(path), "utf8")}`;
    });

  test("gets ready without any configuration, by the host name", async () => {
    const daemon = machine.startDaemon();
    const report = await machine.ready();
    expect(report.node).toMatchObject({
      name: "node-a",
      podCidrs: ["10.244.1.0/24"],
      interface: "eth0",
    });
    expect(report.problems).toEqual([]);
    expect(existsSync(machine.path(conflist))).toBe(true);
    for (const socket of ["cni.sock", "status.sock"]) {
      expect(statSync(machine.path(`/run/fairlead/${socket}`)).mode & 0o777).toBe(0o600);
    }
    const sysctls = readFileSync(machine.path("/var/lib/fairlead/sysctls.json"), "utf8");
    expect(JSON.parse(sysctls)).toEqual({ version: 1, values: { "net/ipv4/ip_forward": "0" } });
    expect(machine.run("dig", "+short", "@10.96.0.10", "web.demo.svc.cluster.local")).toBe(
      "10.96.1.1\n",
    );
    const lines = daemon
      .log()
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as object);
    expect(lines[0]).toMatchObject({ msg: "the daemon starts", node: "node-a", version: "0.1.0" });
  });

  test("answers probes and metrics", async () => {
    machine.startDaemon();
    await machine.ready();
    const get = (path: string): string =>
      machine.run(
        process.execPath,
        "-e",
        `fetch("http://127.0.0.1:9440${path}").then(async (r) => process.stdout.write(r.status + " " + await r.text()))`,
      );
    expect(get("/healthz")).toBe("200 ok\n");
    expect(get("/readyz")).toBe("200 ready\n");
    expect(get("/metrics")).toContain('fairlead_peers{path="vxlan"} 1\n');
  });

  test("stops on SIGTERM with status 0, and leaves everything that pods live on", async () => {
    const daemon = machine.startDaemon();
    await machine.ready();
    const [state, files] = [kernelState(), filesOf()];
    daemon.kill("SIGTERM");
    expect(await daemon.ended).toBe(0);
    expect(kernelState()).toBe(state);
    expect(filesOf()).toEqual(files);
    expect(
      readdirSync(machine.path("/run/fairlead")).filter((name) => name.endsWith(".sock")),
    ).toEqual([]);
    machine.startDaemon();
    await machine.ready();
    expect(kernelState()).toBe(state);
    expect(filesOf()).toEqual(files);
  });

  test("starts again after a kill, over what the last one left", async () => {
    const daemon = machine.startDaemon();
    await machine.ready();
    const state = kernelState();
    daemon.kill("SIGKILL");
    expect(await daemon.ended).toBe("SIGKILL");
    machine.startDaemon();
    expect((await machine.ready()).problems).toEqual([]);
    expect(kernelState()).toBe(state);
  });

  // A delegated plugin may take 15 s, as dhcp does where no server answers.
  test("lets a request without it end first, programs the node meanwhile, and then serves", async () => {
    const slow = "#!/bin/sh\ntouch /run/began; until [ -e /run/end ]; do sleep 0.01; done\n";
    machine.write("/run/cni/slow", slow);
    machine.run("chmod", "+x", "/run/cni/slow");
    const plugin = join(import.meta.dirname, "../../plugin/main.ts");
    const conf = { cniVersion: "1.1.0", name: "other", type: "fairlead", ipam: { type: "slow" } };
    const list = JSON.stringify({ ...conf, "cni.dev/valid-attachments": [] });
    const call = `CNI_COMMAND=GC CNI_PATH=/run/cni ${process.execPath} ${plugin}`;
    machine.run("sh", "-c", `{ echo '${list}' | ${call}; echo "status $?"; } >/run/said 2>&1 &`);
    await vi.waitFor(() => expect(existsSync(machine.path("/run/began"))).toBe(true), waiting);
    machine.startDaemon();
    await vi.waitFor(() => expect(machine.run("ip", "link")).toContain("fl-vxlan"), waiting);
    expect(existsSync(machine.path("/run/fairlead/cni.sock"))).toBe(false);
    machine.write("/run/end", "");
    expect((await machine.ready()).problems).toEqual([]);
    expect(readFileSync(machine.path("/run/said"), "utf8")).toBe("status 0\n");
  });

  test("a second one is refused, and the first one goes on", async () => {
    machine.startDaemon();
    await machine.ready();
    const second = machine.startDaemon();
    expect(await second.ended).toBe(1);
    expect(second.log().trimEnd().split("\n").at(-1)).toContain(
      "Cannot start: another fairlead daemon runs on this node, it holds /run/fairlead/daemon.lock",
    );
    await machine.ready();
  });

  test("waits for what a killed one leaves with a child that is about to run a program", async () => {
    const child =
      "flock /run/fairlead/daemon.lock sh -c 'until [ -e /run/exec ]; do sleep 0.01; done'";
    machine.run("sh", "-c", `mkdir -p /run/fairlead; ${child} >/dev/null 2>&1 &`);
    await vi.waitFor(
      () => machine.run("sh", "-c", "! flock -n /run/fairlead/daemon.lock true"),
      waiting,
    );
    const { pid } = machine.startDaemon();
    const files = `/proc/${pid}/fd`;
    await vi.waitFor(() => {
      const opened = readdirSync(files).map((fd) => readlinkSync(join(files, fd)));
      expect(opened).toContain("/run/fairlead/daemon.lock");
    }, waiting);
    machine.write("/run/exec", "");
    expect((await machine.ready()).problems).toEqual([]);
  });

  test("waits for a node that the cluster does not have, and says what is expected", async () => {
    rmSync(machine.path(`${cluster}/nodes.yaml`));
    machine.write(`${cluster}/b.yaml`, manifest("node-b", "172.30.1.12", "10.244.0.0/24"));
    machine.startDaemon();
    const report = await machine.status(({ problems }) =>
      problems.some(({ area }) => area === "node"),
    );
    expect(report.isReady).toBe(false);
    const [problem] = report.problems.filter(({ area }) => area === "node");
    expect(problem?.message).toContain(
      'Cannot find Node node-a in /etc/fairlead/cluster.d, which has node-b: expected a manifest such as {"apiVersion":"v1"',
    );
    expect(existsSync(machine.path(conflist))).toBe(false);
    // The manifest that is proposed does it.
    const [proposed] = /\{.*\}/.exec(problem!.message)!;
    machine.write(`${cluster}/a.json`, proposed);
    expect((await machine.ready()).node).toMatchObject({
      podCidrs: ["10.244.1.0/24"],
      addresses: ["172.30.1.11"],
    });
  });

  test("keeps the last good version of a manifest that breaks, and names what is wrong", async () => {
    machine.startDaemon();
    await machine.ready();
    const state = kernelState();
    machine.write(`${cluster}/nodes.yaml`, manifest("node-a", "172.30.1.999", "10.244.1.0/24"));
    const report = await machine.status(({ problems }) => problems.length > 0);
    expect(report.problems).toEqual([
      {
        area: "source",
        message: `${cluster}/nodes.yaml:5: Cannot use status.addresses[0].address "172.30.1.999" of Node node-a: expected an IPv4 or IPv6 address of one machine (its last good version is kept)`,
      },
    ]);
    expect(report.isReady).toBe(true);
    expect(kernelState()).toBe(state);
    machine.write(`${cluster}/.next`, readFileSync(join(demo, "nodes.yaml"), "utf8"));
    renameSync(machine.path(`${cluster}/.next`), machine.path(`${cluster}/nodes.yaml`));
    await machine.status(({ problems }) => problems.length === 0);
  });

  test("gives no new pod an address once the cluster has no block for this node", async () => {
    const podCidrs = (): unknown => {
      const text = readFileSync(machine.path("/run/fairlead/node.json"), "utf8");
      return (JSON.parse(text) as { podCidrs: unknown }).podCidrs;
    };
    const first = machine.startDaemon();
    await machine.ready();
    expect(podCidrs()).toEqual(["10.244.1.0/24"]);
    first.kill("SIGTERM");
    await first.ended;
    // Taken away while no daemon runs, and while one does.
    const [a, b] = ["172.30.1.11", "172.30.1.12"];
    const moved = [manifest("node-a", a, ""), manifest("node-b", b, "10.244.1.0/24")].join("---\n");
    machine.write(`${cluster}/nodes.yaml`, moved);
    machine.startDaemon();
    await vi.waitFor(() => expect(podCidrs()).toEqual([]), waiting);
    machine.write(`${cluster}/nodes.yaml`, manifest("node-a", a, "10.244.1.0/24"));
    await machine.ready();
    await vi.waitFor(() => expect(podCidrs()).toEqual(["10.244.1.0/24"]), waiting);
    machine.write(`${cluster}/nodes.yaml`, moved);
    await vi.waitFor(() => expect(podCidrs()).toEqual([]), waiting);
  });

  test("names two nodes with overlapping pod CIDRs, and routes to the older one", async () => {
    machine.write(`${cluster}/d.yaml`, manifest("node-d", "172.30.2.14", "10.244.3.128/25"));
    machine.startDaemon();
    const { problems, peers } = await machine.ready();
    expect(problems).toEqual([
      {
        area: "cluster",
        message:
          "Cannot use pod CIDR 10.244.3.128/25 of Node node-d: it overlaps that of the older Node node-c",
      },
    ]);
    expect(peers.find(({ name }) => name === "node-d")?.path).toBe("none");
    expect(machine.run("ip", "route")).not.toContain("10.244.3.128");
  });

  test("names a UDP port that is taken, keeps the rest, and recovers when it is free", async () => {
    machine.run(
      "ip",
      "link",
      "add",
      "vx",
      "type",
      "vxlan",
      "id",
      "1",
      "dstport",
      "4789",
      "dev",
      "eth0",
      "local",
      "172.30.1.11",
    );
    machine.run("ip", "link", "set", "vx", "up");
    machine.startDaemon();
    const { problems, isReady } = await machine.status((report) => report.problems.length > 0);
    expect(problems[0]?.area).toBe("kernel");
    expect(problems[0]?.message).toMatch(/^Cannot apply "ip link add fl-vxlan .*EEXIST/);
    expect(isReady).toBe(false);
    expect(machine.run("ip", "route")).toContain("10.244.2.0/24 via 172.30.1.12 dev eth0");
    machine.run("ip", "link", "del", "vx");
    expect((await machine.ready()).problems).toEqual([]);
  });

  test.each([
    [
      "a broken configuration",
      "network:\n  backend: gre\nfoo: 1\n",
      '/etc/fairlead/fairlead.yaml: 2 problems\n  line 2: Cannot use network.backend "gre": expected vxlan, direct or auto\n  line 3: Unknown key foo: known keys are nodeName, cluster, cni, network, dns, metrics and log\n',
    ],
    [
      "a source that there is not",
      "cluster: { source: consul }",
      '/etc/fairlead/fairlead.yaml:1: Cannot use cluster.source "consul": expected file, etcd or kubernetes\n',
    ],
  ])("ends with %s, naming everything wrong with it", async (_, yaml, message) => {
    machine.write("/etc/fairlead/fairlead.yaml", yaml);
    const daemon = machine.startDaemon();
    expect(await daemon.ended).toBe(1);
    expect(daemon.log()).toBe(message);
    expect(machine.run("ip", "link")).not.toContain("fl-vxlan");
    expect(existsSync(machine.path("/run/fairlead"))).toBe(false);
  });

  test("takes over a changed configuration, and names what has to wait or is wrong", async () => {
    const file = "/etc/fairlead/fairlead.yaml";
    const configure = (yaml: string): void => {
      machine.write("/etc/fairlead/next", yaml);
      renameSync(machine.path("/etc/fairlead/next"), machine.path(file));
    };
    const set = (): string => machine.run("nft", "list", "set", "inet", "fairlead", "inside4");
    machine.write(file, "dns: { upstreams: [192.0.2.53] }\n");
    const daemon = machine.startDaemon();
    expect((await machine.ready()).dns.upstreams).toEqual(["192.0.2.53#53"]);
    configure(
      "network: { masquerade: { except: [203.0.113.0/24] }, mtu: 1400 }\ndns: { upstreams: [] }\n",
    );
    const { problems, dns } = await machine.status((report) => report.problems.length > 0);
    expect(problems).toEqual([
      {
        area: "config",
        message: `The change of network.mtu in ${file} takes effect at the next start`,
      },
    ]);
    expect(dns.upstreams).toEqual([]);
    await vi.waitFor(() => expect(set()).toContain("203.0.113.0/24"), waiting);
    const answer = (): string => machine.run("dig", "@10.96.0.10", "+tries=1", "example.org");
    expect(answer()).toContain("status: REFUSED");
    configure("network: { masquerade: { except: [203.0.113] } }\n");
    const broken = await machine.status(
      (report) => report.problems[0]?.message.includes('203.0.113"') === true,
    );
    expect(broken.isReady).toBe(true);
    expect(broken.problems[0]?.message).toContain("(the configuration before stays in force)");
    expect(set()).toContain("203.0.113.0/24");
    // A change in place, told by the signal before the file's watch tells.
    machine.write(file, "network: { masquerade: { enabled: false } }\n");
    daemon.kill("SIGHUP");
    await machine.status((report) => report.problems.length === 0);
    await vi.waitFor(() => expect(set()).toContain("No such file"), waiting);
    expect(machine.run("nft", "list", "ruleset")).not.toContain("pods to the outside");
  });

  test("outlives a SIGHUP that comes before it serves", async () => {
    const daemon = machine.startDaemon();
    const lock = machine.path("/run/fairlead/daemon.lock");
    await vi.waitFor(() => expect(existsSync(lock)).toBe(true), { ...waiting, interval: 1 });
    daemon.kill("SIGHUP");
    await machine.ready();
  });

  test("ends when a configuration that was asked for is missing", async () => {
    const daemon = machine.startDaemon("/etc/fairlead/other.yaml");
    expect(await daemon.ended).toBe(1);
    expect(daemon.log()).toContain(
      "/etc/fairlead/other.yaml: Cannot read the configuration: ENOENT",
    );
  });

  test("puts the conflist back, and leaves an operator's alone", async () => {
    machine.startDaemon();
    await machine.ready();
    rmSync(machine.path(conflist));
    await vi.waitFor(() => expect(existsSync(machine.path(conflist))).toBe(true), waiting);
    machine.write(conflist, '{ "name": "mine" }');
    const { problems } = await machine.status((report) => report.problems.length > 0);
    expect(problems[0]?.area).toBe("cni");
    expect(readFileSync(machine.path(conflist), "utf8")).toBe('{ "name": "mine" }');
  });
});
