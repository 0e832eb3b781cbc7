// fairlead in chains with Debian's reference plugins, run as a runtime runs them. Rows are named by the
// behaviour of the reference that they hold us to.
import { execFileSync } from "node:child_process";
import { mkdtempDisposableSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { cniVersions } from "../../core/cni/types.ts";
import { hostInterfaceName } from "../../core/names.ts";
import { type Chain, type ChainOptions, createChain } from "./chain-runner.ts";
import {
  type TestSandbox,
  type TwinNode,
  createSandbox,
  createTwinNode,
  serveOn,
} from "./twin-node.ts";

const root = join(import.meta.dirname, "../..");
const pluginPath = [join(root, "dist/cni"), "/usr/lib/cni"];
const hostInterface = hostInterfaceName({
  network: "fairlead",
  containerId: "chained",
  ifName: "eth0",
});

let node: TwinNode;
let sandbox: TestSandbox;
let clean: string;

beforeAll(() => {
  execFileSync(process.execPath, ["scripts/build.ts"], { cwd: root, stdio: "pipe" });
});
beforeEach(async () => {
  sandbox = await createSandbox();
  node = await createTwinNode();
  await serveOn(node);
  await onNode("sysctl", "-qw", "net.ipv4.ip_forward=1");
  clean = await state();
});
afterEach(async () => {
  await sandbox[Symbol.asyncDispose]();
  await node[Symbol.asyncDispose]();
});

async function onNode(...command: readonly string[]): Promise<string> {
  const { status, stdout, stderr } = await node.run(command, process.env);
  if (status !== 0) throw new Error(`${command.join(" ")}: ${stderr}${stdout}`);
  return stdout;
}
const inPod = (...command: readonly string[]) =>
  onNode("nsenter", `--net=${sandbox.path}`, ...command);

/** Everything that an attachment could leave: links, routes, neighbors, leases, records. */
const state = () =>
  onNode(
    "sh",
    "-c",
    "ip -o link | sed 's/ qdisc.*//'; ip route; ip -6 route show proto 76; ip neighbor show nud permanent;" +
      "tc qdisc | grep tbf; ls /sys/class/net; find /run/fairlead/attachments /run/cni -type f; " +
      "find /var/lib/cni -type f | grep -v -e lock -e last_reserved; true",
  );

const chainOf = (
  plugins: readonly object[],
  more: Partial<ChainOptions> & { version?: string } = {},
): Chain =>
  createChain({
    node,
    netns: sandbox.path,
    pluginPath,
    conflist: { cniVersion: more.version ?? "1.0.0", name: "fairlead", plugins },
    ...more,
  });

// The interface goes 20 ms after the answer.
const expectClean = () => vi.waitFor(async () => expect(await state()).toBe(clean));

/** ADD, CHECK, what is to be seen, DEL twice, nothing left. */
async function live(
  chain: Chain,
  look: () => Promise<void>,
  checked: Chain = chain,
): Promise<void> {
  const result = await chain.add();
  await checked.pass("CHECK", result);
  await look();
  await chain.pass("DEL", result);
  await chain.pass("DEL");
  await inPodNothingLeft();
  await expectClean();
}

const inPodNothingLeft = () =>
  vi.waitFor(async () => expect(await inPod("ip", "-o", "link")).toMatch(/^1: lo:.*\n$/));
const ping = (address: string) => onNode("ping", "-c1", "-W2", address);
const fairlead = { type: "fairlead" };

describe("fairlead, then", () => {
  // Debian's portmap (1.1.1) fails its own CHECK wherever ip6tables works: it looks for its IPv4 rules
  // there too. Ours is asked without it.
  test("portmap: a host port reaches the pod (pm)", async () => {
    const portMappings = [{ hostPort: 8080, containerPort: 80, protocol: "tcp" }];
    const chain = chainOf(
      [fairlead, { type: "portmap", capabilities: { portMappings: true }, snat: true }],
      { capabilityArgs: { portMappings } },
    );
    await live(
      chain,
      async () => {
        expect(await onNode("iptables-save", "-t", "nat")).toMatch(
          /-A CNI-DN-\S+ -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10\.244\.1\.2:80/,
        );
        await inPod("ip", "link", "set", "lo", "up");
        const server = `require("net").createServer((s) => s.end("pod")).listen(80, "10.244.1.2", () => console.log("on"))`;
        const running = await node.start([
          "nsenter",
          `--net=${sandbox.path}`,
          process.execPath,
          "-e",
          server,
        ]);
        try {
          const client = `require("net").connect(8080, "192.0.2.1").pipe(process.stdout)`;
          expect(await onNode("timeout", "5", process.execPath, "-e", client)).toBe("pod");
        } finally {
          running.kill("SIGKILL");
        }
      },
      chainOf([fairlead]),
    );
    expect(await onNode("iptables-save", "-t", "nat")).not.toContain("8080");
  });

  test("bandwidth: it shapes our host interface, its IFB goes (bw-01, bw-19)", async () => {
    const bandwidth = { ingressRate: 8e6, ingressBurst: 8e6, egressRate: 16e6, egressBurst: 8e6 };
    const chain = chainOf([fairlead, { type: "bandwidth", capabilities: { bandwidth: true } }], {
      capabilityArgs: { bandwidth },
    });
    await live(chain, async () => {
      expect(await onNode("tc", "qdisc", "show", "dev", hostInterface, "root")).toContain(
        "rate 8Mbit",
      );
      expect(await onNode("tc", "qdisc")).toMatch(/tbf .*dev bwp\S+ .*rate 16Mbit/);
      await ping("10.244.1.2");
    });
  });

  test("tuning: sysctl, MTU and queue length (tuning-01, tuning-03)", async () => {
    const sysctl = { "net.ipv4.conf.all.log_martians": "1" };
    await live(
      chainOf([fairlead, { type: "tuning", sysctl, mtu: 1400, promisc: true }]),
      async () => {
        expect(await inPod("sysctl", "-n", "net.ipv4.conf.all.log_martians")).toBe("1\n");
        expect(await inPod("ip", "link", "show", "eth0")).toMatch(/PROMISC.* mtu 1400 /);
        await ping("10.244.1.2");
      },
    );
  });

  test("tuning with a MAC: CHECK takes it over, and the pod is reached (tuning-04)", async () => {
    const chain = chainOf([fairlead, { type: "tuning", mac: "02:11:22:33:44:55" }]);
    await live(chain, async () => {
      expect(await inPod("ip", "link", "show", "eth0")).toContain("02:11:22:33:44:55");
      for (const address of ["10.244.1.2", "fd00:10:244:1::2"]) await ping(address);
    });
  });

  test("tuning with a MAC: another one than the result's is still damage", async () => {
    const chain = chainOf([fairlead, { type: "tuning", mac: "02:11:22:33:44:55" }]);
    const result = await chain.add();
    await inPod("ip", "link", "set", "eth0", "address", "02:66:66:66:66:66");
    const { error } = await chain.run("CHECK", result);
    expect(error).toMatchObject({ plugin: "fairlead", code: 102 });
    expect(error?.details).toContain("has MAC 02:66:66:66:66:66, expected");
    await chain.pass("DEL", result);
    await expectClean();
  });

  test("firewall: the pod is let through (fw-01, fw-06)", async () => {
    await live(chainOf([fairlead, { type: "firewall", backend: "iptables" }]), async () => {
      const rules = await onNode("iptables-save", "-t", "filter");
      expect(rules).toContain("-A CNI-FORWARD -s 10.244.1.2/32 -j ACCEPT");
      expect(await onNode("ip6tables-save", "-t", "filter")).toContain("fd00:10:244:1::2");
    });
    expect(await onNode("iptables-save", "-t", "filter")).not.toContain("10.244.1.2");
  });

  test("all four", async () => {
    const bandwidth = { ingressRate: 8e6, ingressBurst: 8e6 };
    const portMappings = [{ hostPort: 8081, containerPort: 81, protocol: "udp" }];
    const portmap = { type: "portmap", capabilities: { portMappings: true } };
    const others = [
      { type: "firewall", backend: "iptables" },
      { type: "bandwidth", capabilities: { bandwidth: true } },
      { type: "tuning", mac: "02:11:22:33:44:66", mtu: 1300 },
    ];
    const capabilityArgs = { bandwidth, portMappings };
    const chain = chainOf([fairlead, portmap, ...others], { capabilityArgs });
    const checked = chainOf([fairlead, ...others], { capabilityArgs });
    await live(chain, async () => void (await ping("10.244.1.2")), checked);
  });

  test("a plugin that fails: the DEL that follows leaves nothing", async () => {
    const chain = chainOf([fairlead, { type: "tuning", sysctl: { "kernel.shmmax": "1" } }]);
    const { error } = await chain.run("ADD");
    expect(error).toMatchObject({ plugin: "tuning" });
    await chain.pass("DEL");
    await inPodNothingLeft();
    await expectClean();
  });
});

describe("after another plugin", () => {
  // Debian's know no 1.1.0.
  const loopbackVersions = cniVersions.filter((version) => version !== "1.1.0");
  const perFamily = new Set<string>(["0.1.0", "0.2.0"]);

  test.each(loopbackVersions)("in %s: its result goes on, with ours behind it", async (version) => {
    const chain = chainOf([{ type: "loopback" }, fairlead], { version });
    const result = await chain.add();
    expect(result.cniVersion).toBe(version);
    if (perFamily.has(version)) {
      expect(result).toMatchObject({ ip4: { ip: "10.244.1.2/32" } });
    } else {
      expect(result.interfaces.map(({ name }) => name)).toEqual(["lo", hostInterface, "eth0"]);
      const at = (address: string) => result.ips.find((ip) => ip.address === address)?.interface;
      expect([at("127.0.0.1/8"), at("10.244.1.2/32"), at("fd00:10:244:1::2/128")]).toEqual([
        0, 2, 2,
      ]);
      expect(result.routes?.map(({ dst }) => dst)).toEqual(["0.0.0.0/0", "::/0"]);
    }
    expect(result.dns).toMatchObject({ nameservers: ["10.96.0.10"] });
    const canCheck = !["0.1.0", "0.2.0", "0.3.0", "0.3.1"].includes(version);
    if (canCheck) await chain.pass("CHECK", result);
    await ping("10.244.1.2");
    await chain.pass("DEL", canCheck ? result : undefined);
    await chain.pass("DEL");
    await expectClean();
  });

  test("in 1.1.0, with all that it knows of an interface", async () => {
    using directory = mkdtempDisposableSync(join(tmpdir(), "fairlead-chain-"));
    const given = {
      cniVersion: "1.1.0",
      interfaces: [{ name: "net1", sandbox: sandbox.path, mtu: 9000, pciID: "0000:00:1f.6" }],
      ips: [{ address: "10.9.0.7/24", gateway: "10.9.0.1", interface: 0 }],
      routes: [{ dst: "10.9.0.0/16", gw: "10.9.0.1", table: 0, scope: 0, mtu: 1400 }],
    };
    const script = `#!/bin/sh\n[ $CNI_COMMAND != ADD ] || echo '${JSON.stringify(given)}'\n`;
    writeFileSync(join(directory.path, "first"), script, { mode: 0o755 });
    const chain = chainOf([{ type: "first" }, fairlead], {
      version: "1.1.0",
      pluginPath: [directory.path, ...pluginPath],
    });
    await live(chain, async () => void (await ping("10.244.1.2")));
    const { interfaces, ips, routes } = await chain.add();
    expect([interfaces[0], ips[0], routes![0]]).toEqual([
      given.interfaces[0],
      given.ips[0],
      given.routes[0],
    ]);
    expect(ips.map((ip) => ip.interface)).toEqual([0, 2, 2]);
    await chain.pass("DEL");
  });

  test("and before a third", async () => {
    const chain = chainOf([
      { type: "loopback" },
      fairlead,
      { type: "tuning", mac: "02:11:22:33:44:77" },
    ]);
    await live(chain, async () => void (await ping("10.244.1.2")));
  });
});
