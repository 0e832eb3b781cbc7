// Which addresses a pod gets on a node whose cluster has pools, with the daemon and without, and when the
// node's blocks change while it runs.
import { renameSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { TestMachine } from "../daemon/node-process.ts";

const root = join(import.meta.dirname, "../..");
const cluster = "/etc/fairlead/cluster.d";
const waiting = { timeout: 40_000, interval: 50 };

describe("pods of a node with pools", () => {
  let machine: TestMachine;
  beforeEach(async () => {
    machine = await TestMachine.open();
    machine.write(
      "/etc/fairlead/fairlead.yaml",
      `network:
  pools:
    - { name: db, cidrs: [10.250.0.0/16], namespaces: [data] }
    - { name: edge, cidrs: [10.251.0.0/16] }
  ipam: { reserved: [10.244.1.2-10.244.1.9], quarantineSeconds: 0 }
`,
    );
    writeNode("10.244.1.0/24", "10.250.1.0/29");
    write(
      "shop.yaml",
      `apiVersion: v1
kind: Namespace
metadata: { name: shop, annotations: { fairlead.dev/pool: db } }
---
apiVersion: v1
kind: Pod
metadata: { name: web, namespace: shop, annotations: { fairlead.dev/pool: default } }
---
apiVersion: v1
kind: Pod
metadata: { name: far, namespace: shop, annotations: { fairlead.dev/pool: edge } }
`,
    );
  });
  afterEach(() => machine[Symbol.asyncDispose]());

  /** By rename: seen whole. */
  const write = (name: string, content: string): void => {
    machine.write(`${cluster}/.${name}`, content);
    renameSync(machine.path(`${cluster}/.${name}`), machine.path(`${cluster}/${name}`));
  };
  const writeNode = (...podCidrs: readonly string[]): void =>
    write(
      "node.yaml",
      `apiVersion: v1
kind: Node
metadata: { name: node-a }
spec: { podCIDRs: [${podCidrs.join(", ")}] }
status: { addresses: [{ type: InternalIP, address: 172.30.1.11 }] }
`,
    );
  /** The address that the pod gets, or the error's message. */
  const add = (pod: string): string => {
    const [namespace, name] = pod.split("/");
    const environment = [
      "CNI_COMMAND=ADD",
      `CNI_CONTAINERID=${namespace}-${name}`,
      "CNI_IFNAME=eth0",
      "CNI_NETNS=/run/netns/none",
      "CNI_PATH=/usr/lib/cni",
      `CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=${namespace};K8S_POD_NAME=${name}`,
    ];
    const conf = {
      cniVersion: "1.0.0",
      name: "fairlead",
      type: "bridge",
      ipam: { type: "fairlead-ipam" },
    };
    machine.write("/run/conf.json", JSON.stringify(conf));
    const program = [process.execPath, join(root, "ipam/main.ts")];
    const printed = machine.run(
      "env",
      ...environment,
      "sh",
      "-c",
      '"$@" </run/conf.json',
      "sh",
      ...program,
    );
    const { ips, msg } = JSON.parse(printed) as { ips?: { address: string }[]; msg?: string };
    return ips?.[0]?.address ?? String(msg);
  };

  test("get what annotation, namespace and list choose, also while the daemon is stopped", async () => {
    const daemon = machine.startDaemon();
    await machine.ready();
    expect(add("demo/any")).toBe("10.244.1.10/24");
    expect(add("shop/web")).toBe("10.244.1.11/24");
    expect(add("shop/cart")).toBe("10.250.1.2/29");
    daemon.kill("SIGKILL");
    await daemon.ended;
    expect(add("data/store")).toBe("10.250.1.3/29");
    expect(add("shop/far")).toBe(
      'Cannot give addresses of pool "edge" (annotation fairlead.dev/pool of Pod shop/far): node "node-a" has no block of it; "fairlead ipam assign --node node-a --pool edge" gives it one',
    );
  });

  test("are warned of in status and metrics before the pool is full, which the error names", async () => {
    machine.startDaemon();
    await machine.ready();
    for (let i = 0; i < 4; i++) add(`data/${i}`);
    const { problems, isReady } = await machine.status((report) => report.problems.length > 0);
    expect(isReady).toBe(true);
    expect(problems).toEqual([
      {
        area: "ipam",
        message: expect.stringContaining('Pool "db" is 80 % full of IPv4: 4 of 5 are held'),
      },
    ]);
    add("data/last");
    expect(add("data/one-too-many")).toContain(
      'Cannot give an address of network "fairlead": 5 of 5 are held in pool "db" (10.250.1.1-10.250.1.6 of 10.250.1.0/29)',
    );
    const show = machine.run(process.execPath, join(root, "cli/main.ts"), "ipam", "show");
    expect(show).toContain("10.250.1.0/29 of db\n  --#####-\n");
    expect(show).toMatch(/data\/last +10\.250\.1\.6 +db +/);
    const metrics = () =>
      machine.run(
        process.execPath,
        "-e",
        `fetch("http://127.0.0.1:9440/metrics").then(async (r) => process.stdout.write(await r.text()))`,
      );
    await vi.waitFor(
      () =>
        expect(metrics()).toContain('fairlead_ipam_addresses{pool="db",family="4",state="held"} 5'),
      waiting,
    );
  });

  test("get addresses of the blocks that the node has then", async () => {
    machine.startDaemon();
    await machine.ready();
    expect(add("demo/first")).toBe("10.244.1.10/24");
    const blocks = async (count: number) =>
      machine.status(({ node, isReady }) => isReady && node.podCidrs.length === count);
    writeNode("10.244.7.0/24", "10.251.7.0/24", "10.250.1.0/29");
    await blocks(3);
    expect(add("demo/second")).toBe("10.244.7.2/24");
    expect(add("shop/far")).toBe("10.251.7.2/24");
  });
});
