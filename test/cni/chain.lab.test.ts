// fairlead in chains with Debian's reference plugins, run as a runtime runs them. Rows are named by the
// behaviour of the reference that they hold us to.
import { mkdtempDisposableSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { cniVersions } from "../../core/cni/types.ts";
import { attachmentMacs, hostInterfaceName } from "../../core/names.ts";
import { type ChainNode, build, openChainNode, pluginPath } from "./chain-node.ts";

const key = { network: "fairlead", containerId: "chained", ifName: "eth0" };
const hostInterface = hostInterfaceName(key);

let lab: ChainNode;
beforeAll(() => void build());
beforeEach(async () => void (lab = await openChainNode()));
afterEach(() => lab[Symbol.asyncDispose]());

const fairlead = { type: "fairlead" };

describe("fairlead, then", () => {
  // Debian's portmap (1.1.1) fails its own CHECK wherever ip6tables works: it looks for its IPv4 rules
  // there too. Ours is asked without it.
  test("portmap: a host port reaches the pod", async () => {
    const portMappings = [{ hostPort: 8080, containerPort: 80, protocol: "tcp" }];
    const chain = lab.chainOf(
      [fairlead, { type: "portmap", capabilities: { portMappings: true }, snat: true }],
      { capabilityArgs: { portMappings } },
    );
    await lab.live(
      chain,
      async () => {
        expect(await lab.onNode("iptables-save", "-t", "nat")).toMatch(
          /-A CNI-DN-\S+ -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10\.244\.1\.2:80/,
        );
        await lab.inPod("ip", "link", "set", "lo", "up");
        const server = `require("net").createServer((s) => s.end("pod")).listen(80, "10.244.1.2", () => console.log("on"))`;
        const running = await lab.node.start([
          "nsenter",
          `--net=${lab.netns}`,
          process.execPath,
          "-e",
          server,
        ]);
        try {
          const client = `require("net").connect(8080, "192.0.2.1").pipe(process.stdout)`;
          expect(await lab.onNode("timeout", "5", process.execPath, "-e", client)).toBe("pod");
        } finally {
          running.kill("SIGKILL");
        }
      },
      lab.chainOf([fairlead]),
    );
    expect(await lab.onNode("iptables-save", "-t", "nat")).not.toContain("8080");
  });

  test("bandwidth: it shapes our host interface, its IFB goes (bw-01, bw-19)", async () => {
    const bandwidth = { ingressRate: 8e6, ingressBurst: 8e6, egressRate: 16e6, egressBurst: 8e6 };
    const chain = lab.chainOf(
      [fairlead, { type: "bandwidth", capabilities: { bandwidth: true } }],
      {
        capabilityArgs: { bandwidth },
      },
    );
    await lab.live(chain, async () => {
      expect(await lab.onNode("tc", "qdisc", "show", "dev", hostInterface, "root")).toContain(
        "rate 8Mbit",
      );
      expect(await lab.onNode("tc", "qdisc")).toMatch(/tbf .*dev bwp\S+ .*rate 16Mbit/);
      await lab.ping("10.244.1.2");
    });
  });

  test("tuning: sysctl, MTU and queue length (tuning-01, tuning-03, tuning-15)", async () => {
    const sysctl = { "net.ipv4.conf.all.log_martians": "1" };
    await lab.live(
      lab.chainOf([fairlead, { type: "tuning", sysctl, mtu: 1400, promisc: true }]),
      async () => {
        expect(await lab.inPod("sysctl", "-n", "net.ipv4.conf.all.log_martians")).toBe("1\n");
        expect(await lab.inPod("ip", "link", "show", "eth0")).toMatch(/PROMISC.* mtu 1400 /);
        await lab.ping("10.244.1.2");
      },
    );
  });

  test("tuning with a MAC: CHECK takes it over, and the pod is reached (tuning-04)", async () => {
    const chain = lab.chainOf([fairlead, { type: "tuning", mac: "02:11:22:33:44:55" }]);
    await lab.live(chain, async () => {
      expect(await lab.inPod("ip", "link", "show", "eth0")).toContain("02:11:22:33:44:55");
      for (const address of ["10.244.1.2", "fd00:10:244:1::2"]) await lab.ping(address);
    });
  });

  test("tuning with the MAC that the pod has: CHECK puts back the neighbors that it took", async () => {
    const { pod } = attachmentMacs(key);
    await lab.live(lab.chainOf([fairlead, { type: "tuning", mac: pod }]), async () => {
      for (const address of ["10.244.1.2", "fd00:10:244:1::2"]) await lab.ping(address);
    });
  });

  test("tuning with a MAC: another one than the result's is still damage", async () => {
    const chain = lab.chainOf([fairlead, { type: "tuning", mac: "02:11:22:33:44:55" }]);
    const result = await chain.add();
    await lab.inPod("ip", "link", "set", "eth0", "address", "02:66:66:66:66:66");
    const { error } = await chain.run("CHECK", result);
    expect(error).toMatchObject({ plugin: "fairlead", code: 102 });
    expect(error?.details).toContain("has MAC 02:66:66:66:66:66, expected");
    await chain.pass("DEL", result);
    await lab.expectClean();
  });

  test("firewall: the pod is let through (fw-01, fw-06, fw-07)", async () => {
    await lab.live(lab.chainOf([fairlead, { type: "firewall", backend: "iptables" }]), async () => {
      const rules = await lab.onNode("iptables-save", "-t", "filter");
      expect(rules).toContain("-A CNI-FORWARD -s 10.244.1.2/32 -j ACCEPT");
      expect(await lab.onNode("ip6tables-save", "-t", "filter")).toContain("fd00:10:244:1::2");
    });
    expect(await lab.onNode("iptables-save", "-t", "filter")).not.toContain("10.244.1.2");
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
    const chain = lab.chainOf([fairlead, portmap, ...others], { capabilityArgs });
    const checked = lab.chainOf([fairlead, ...others], { capabilityArgs });
    await lab.live(chain, async () => void (await lab.ping("10.244.1.2")), checked);
  });
});

test("a limit as containerd sends it (rt-02)", async () => {
  const burst = 2 ** 32 - 1;
  const bandwidth = {
    IngressRate: 1_000_000,
    IngressBurst: burst,
    EgressRate: 2_000_000,
    EgressBurst: burst,
  };
  const limited = { ...fairlead, capabilities: { bandwidth: true } };
  const chain = lab.chainOf([limited], { capabilityArgs: { bandwidth } });
  await lab.live(chain, async () => {
    const shown = await lab.onNode("tc", "qdisc", "show", "dev", hostInterface, "root");
    expect(shown).toMatch(/^qdisc tbf .* rate 1Mbit burst 12500b lat 25ms/);
    const inside = await lab.inPod("tc", "qdisc", "show", "dev", "eth0", "root");
    expect(inside).toMatch(/^qdisc tbf .* rate 2Mbit burst 25000b lat 25ms/);
    await lab.ping("10.244.1.2");
  });
});

describe("after another plugin", () => {
  // Debian's know no 1.1.0.
  const loopbackVersions = cniVersions.filter((version) => version !== "1.1.0");
  const perFamily = new Set<string>(["0.1.0", "0.2.0"]);

  test.each(loopbackVersions)(
    "in %s: its result goes on, with ours behind it (lo-01)",
    async (version) => {
      const chain = lab.chainOf([{ type: "loopback" }, fairlead], { version });
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
      await lab.ping("10.244.1.2");
      await chain.pass("DEL", canCheck ? result : undefined);
      await chain.pass("DEL");
      await lab.expectClean();
    },
  );

  test("in 1.1.0, with all that it knows of an interface", async () => {
    using directory = mkdtempDisposableSync(join(tmpdir(), "fairlead-chain-"));
    const given = {
      cniVersion: "1.1.0",
      interfaces: [{ name: "net1", sandbox: lab.netns, mtu: 9000, pciID: "0000:00:1f.6" }],
      ips: [{ address: "10.9.0.7/24", gateway: "10.9.0.1", interface: 0 }],
      routes: [{ dst: "10.9.0.0/16", gw: "10.9.0.1", table: 0, scope: 0, mtu: 1400 }],
    };
    const script = `#!/bin/sh\n[ $CNI_COMMAND != ADD ] || echo '${JSON.stringify(given)}'\n`;
    writeFileSync(join(directory.path, "first"), script, { mode: 0o755 });
    const chain = lab.chainOf([{ type: "first" }, fairlead], {
      version: "1.1.0",
      pluginPath: [directory.path, ...pluginPath],
    });
    await lab.live(chain, async () => void (await lab.ping("10.244.1.2")));
    const { interfaces, ips, routes } = await chain.add();
    expect([interfaces[0], ips[0], routes![0]]).toEqual([
      given.interfaces[0],
      given.ips[0],
      given.routes[0],
    ]);
    expect(ips.map((ip) => ip.interface)).toEqual([0, 2, 2]);
    await chain.pass("DEL");
  });

  test("that has made the very interface: refused, and DEL leaves nothing", async () => {
    const ipam = { type: "host-local", subnet: "10.8.0.0/24" };
    const chain = lab.chainOf([{ type: "ptp", ipam }, fairlead]);
    const { error } = await chain.run("ADD");
    expect(error).toMatchObject({ plugin: "fairlead", code: 101 });
    expect(await lab.inPod("ip", "address", "show", "eth0")).toContain("10.8.0.2");
    await chain.pass("DEL");
    await lab.expectClean();
  });

  test("and before a third", async () => {
    const chain = lab.chainOf([
      { type: "loopback" },
      fairlead,
      { type: "tuning", mac: "02:11:22:33:44:77" },
    ]);
    await lab.live(chain, async () => void (await lab.ping("10.244.1.2")));
  });
});
