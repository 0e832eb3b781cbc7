// A node that moves from flannel or plain host-local to fairlead with its pods running: leases made by
// the Go host-local, taken over by the command, kept and freed by the daemon and the plugin.
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { TestMachine } from "../daemon/node-process.ts";
import { referenceDir } from "./plugin-process.ts";

const root = join(import.meta.dirname, "../..");
const networks = "/var/lib/cni/networks";
const waiting = { timeout: 40_000, interval: 50 };

describe("fairlead ipam adopt", () => {
  let machine: TestMachine;
  beforeEach(async () => {
    machine = await TestMachine.open();
    machine.write(
      "/etc/fairlead/cluster.d/node.yaml",
      `apiVersion: v1
kind: Node
metadata: { name: node-a }
spec: { podCIDRs: [10.244.1.0/24] }
status: { addresses: [{ type: InternalIP, address: 172.30.1.11 }] }
`,
    );
  });
  afterEach(() => machine[Symbol.asyncDispose]());

  const node = (script: string, ...args: readonly string[]) =>
    machine.run(process.execPath, join(root, script), ...args);
  const adopt = (...args: readonly string[]): string =>
    node("cli/main.ts", "ipam", "adopt", ...args);
  const files = (network: string): Record<string, string> => {
    const directory = machine.path(`${networks}/${network}`);
    if (!existsSync(directory)) return {};
    return Object.fromEntries(
      readdirSync(directory)
        .filter((name) => name !== "lock")
        .sort()
        .map((name) => [name, readFileSync(join(directory, name), "utf8")]),
    );
  };
  const addresses = (network: string): string[] =>
    Object.keys(files(network)).filter((name) => /^[\d.]+$/.test(name));

  /** One request to an IPAM plugin on the machine. */
  const cni = (
    command: string,
    container: string,
    conf: object,
    program: readonly string[],
  ): string => {
    machine.write(
      "/tmp-conf.json",
      JSON.stringify({ cniVersion: "1.1.0", type: "bridge", ...conf }),
    );
    const environment = [
      `CNI_COMMAND=${command}`,
      `CNI_CONTAINERID=${container}`,
      "CNI_IFNAME=eth0",
      "CNI_NETNS=/run/netns/none",
      "CNI_PATH=/usr/lib/cni",
    ];
    return machine.run("env", ...environment, "sh", "-c", '"$@" </tmp-conf.json', "sh", ...program);
  };
  const hostLocal = (command: string, container: string, name: string, subnet: string): string =>
    cni(
      command,
      container,
      { cniVersion: "1.0.0", name, ipam: { type: "host-local", ranges: [[{ subnet }]] } },
      [join(referenceDir, "host-local")],
    );
  const ours = (command: string, container: string, more: object = {}): string =>
    cni(command, container, { name: "fairlead", ipam: { type: "fairlead-ipam" }, ...more }, [
      process.execPath,
      join(root, "ipam/main.ts"),
    ]);

  test("takes over host-local's leases, keeps them while their pods live, and loses none", async () => {
    hostLocal("ADD", "far", "cbr0", "10.9.0.0/24");
    for (const container of ["c1", "c2", "c3"])
      hostLocal("ADD", container, "cbr0", "10.244.1.0/24");
    hostLocal("ADD", "other", "podman", "10.88.0.0/16");
    const before = [files("cbr0"), files("podman")];

    const dry = adopt("--dry-run");
    expect(dry).toContain(`${networks}/podman: passed over, none of its 1 leases fits this node`);
    expect(dry).toMatch(/10\.244\.1\.2 +c1 +eth0 +cbr0 +would be adopted\n/);
    expect(dry).toContain("3 would be adopted into network fairlead, 0 were before, 1 refused");
    expect(existsSync(machine.path(`${networks}/fairlead`))).toBe(false);
    expect(existsSync(machine.path("/var/lib/fairlead"))).toBe(false);

    const text = adopt();
    expect(text).toMatch(
      /10\.9\.0\.2 +far +eth0 +cbr0 +refused: it is outside this node's blocks: /,
    );
    expect(text).toContain("3 adopted into network fairlead, 0 were before, 1 refused");
    expect(files("fairlead")).toEqual({
      "10.244.1.2": "c1\r\neth0",
      "10.244.1.3": "c2\r\neth0",
      "10.244.1.4": "c3\r\neth0",
      "last_reserved_ip.0": "10.244.1.4",
    });
    expect(adopt()).toContain("0 adopted into network fairlead, 3 were before, 1 refused");
    expect([files("cbr0"), files("podman")]).toEqual(before);

    const daemon = machine.startDaemon();
    await machine.ready();
    expect(ours("ADD", "new")).toContain('"10.244.1.5/24"');
    const none = { "cni.dev/valid-attachments": [] };
    expect(ours("GC", "none", none)).toContain("GC freed leases");
    expect(addresses("fairlead")).toEqual(["10.244.1.2", "10.244.1.3", "10.244.1.4"]);

    hostLocal("DEL", "c2", "cbr0", "10.244.1.0/24");
    await vi.waitFor(
      () => expect(addresses("fairlead")).toEqual(["10.244.1.2", "10.244.1.4"]),
      waiting,
    );
    await vi.waitFor(
      () => expect(daemon.log()).toContain("freed adopted leases whose pods have ended"),
      waiting,
    );
    hostLocal("DEL", "c1", "cbr0", "10.244.1.0/24");
    hostLocal("DEL", "c3", "cbr0", "10.244.1.0/24");
    await vi.waitFor(() => expect(addresses("fairlead")).toEqual([]), waiting);
    await vi.waitFor(
      () => expect(existsSync(machine.path("/var/lib/fairlead/adopted.json"))).toBe(false),
      waiting,
    );
  });

  test("fails where all that there is was passed over", () => {
    const command = [process.execPath, join(root, "cli/main.ts"), "ipam", "adopt"];
    const status = (): string =>
      machine.run("sh", "-c", '"$@"; echo "status $?"', "sh", ...command);
    expect(status()).toContain("status 0");
    hostLocal("ADD", "other", "podman", "10.88.0.0/16");
    const said = status();
    expect(said).toContain("podman: passed over");
    expect(said).toContain("status 1");
  });

  test("takes over flannel's, and names the subnet that the node lacks", () => {
    expect(adopt("--from", "flannel")).toContain(
      `Cannot find flannel's "/run/flannel/subnet.env": flannel has not run on this node`,
    );
    const subnetEnv = (network: string, subnet: string) =>
      machine.write(
        "/run/flannel/subnet.env",
        `FLANNEL_NETWORK=${network}\nFLANNEL_SUBNET=${subnet}\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n`,
      );
    const delegate = {
      cniVersion: "1.0.0",
      name: "pods",
      type: "bridge",
      ipam: { type: "host-local", ranges: [[{ subnet: "10.244.1.0/24" }]] },
    };
    machine.write("/var/lib/cni/flannel/c1", JSON.stringify(delegate));
    machine.write("/var/lib/cni/flannel/torn", '{"name');
    hostLocal("ADD", "c1", "pods", "10.244.1.0/24");
    hostLocal("ADD", "c2", "cbr0", "10.245.7.0/24");

    subnetEnv("10.245.0.0/16", "10.245.7.1/24");
    const wrong = adopt("--from", "flannel", "--dry-run");
    expect(wrong).toContain(
      "problem: flannel's network 10.245.0.0/16 is not inside fairlead's 10.244.0.0/16",
    );
    expect(wrong).toContain(
      "problem: flannel's subnet 10.245.7.0/24 is in none of this node's pod CIDRs (10.244.1.0/24): add it to spec.podCIDRs of Node node-a",
    );
    expect(wrong).toMatch(/10\.245\.7\.2 +c2 +eth0 +cbr0 +refused: it is outside/);

    hostLocal("DEL", "c2", "cbr0", "10.245.7.0/24");
    subnetEnv("10.244.0.0/16", "10.244.1.1/24");
    const json = JSON.parse(adopt("--from", "flannel", "--json")) as object;
    expect(json).toMatchObject({
      isDryRun: false,
      network: "fairlead",
      problems: [],
      leases: [{ address: "10.244.1.2", containerId: "c1", ifName: "eth0", kind: "adopted" }],
    });
    expect(files("fairlead")["10.244.1.2"]).toBe("c1\r\neth0");
  });
});
