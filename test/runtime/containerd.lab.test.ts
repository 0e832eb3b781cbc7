// containerd, driven through its CRI as a kubelet does it, on two nodes with the overlay between them.
import { rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { outsidePath } from "../../cli/lab/node.ts";
import { waitFor } from "../../cli/lab/wait.ts";
import { paths } from "../../core/paths.ts";
import { startContainerd, type Containerd } from "./containerd.ts";
import type { PodSandboxConfig } from "./cri.ts";
import { imageName } from "./image.ts";
import {
  createRuntimeLab,
  fetchIn,
  killDaemon,
  removeForgotten,
  type RuntimeLab,
  startDaemonAgain,
  watchMachines,
} from "./machines.ts";

const signal = new AbortController().signal;

let lab: RuntimeLab;
let near: Containerd;
let far: Containerd;
let watched: Awaited<ReturnType<typeof watchMachines>>;

beforeAll(async () => {
  lab = await createRuntimeLab();
  [near, far] = await Promise.all([
    startContainerd(lab.machines[0]),
    startContainerd(lab.machines[1]),
  ]);
});
afterAll(() => lab[Symbol.asyncDispose]());

beforeEach(async () => {
  watched = await watchMachines(lab.machines);
});
afterEach(() => watched.check());

/** What a kubelet says of a pod with dnsPolicy ClusterFirst. */
const podNamed = (name: string, more: Partial<PodSandboxConfig> = {}): PodSandboxConfig => ({
  name,
  namespace: "demo",
  dns: {
    servers: ["10.96.0.10"],
    searches: ["demo.svc.cluster.local", "svc.cluster.local", "cluster.local"],
    options: ["ndots:5"],
  },
  ...more,
});

interface Pod {
  readonly sandbox: string;
  readonly address: string;
  readonly exec: (...command: string[]) => Promise<{ status: number; output: string }>;
  readonly remove: () => Promise<void>;
}

async function runPod(
  on: Containerd,
  config: PodSandboxConfig,
  ...command: string[]
): Promise<Pod> {
  const sandbox = await on.cri.runPodSandbox(config);
  const container = await on.cri.runContainer(sandbox, config, {
    name: "main",
    image: imageName,
    command: command.length === 0 ? ["sleep", "infinity"] : command,
  });
  const [address = ""] = await on.cri.podAddresses(sandbox);
  return {
    sandbox,
    address,
    exec: (...words) => on.cri.exec(container, ...words),
    remove: async () => {
      // Each of them twice, as a kubelet does that did not hear the first answer.
      for (const _ of [1, 2]) await on.cri.stopPodSandbox(sandbox);
      for (const _ of [1, 2]) await on.cri.removePodSandbox(sandbox);
    },
  };
}

const ping = (from: Pod, to: string): Promise<{ status: number; output: string }> =>
  from.exec("ping", "-c", "1", "-W", "2", to);

test("pods on two nodes reach each other, and services by name", async () => {
  const web = await runPod(near, podNamed("web"), "httpd", "-f", "-p", "8080", "-h", "/www");
  const db = await runPod(near, podNamed("db"));
  const client = await runPod(far, podNamed("client"));
  expect([web, db, client].map(({ address }) => address)).toEqual([
    "10.244.1.2",
    "10.244.1.3",
    "10.244.3.2",
  ]);
  expect(await ping(client, web.address)).toMatchObject({ status: 0 });
  expect(await ping(web, client.address)).toMatchObject({ status: 0 });
  expect(await client.exec("wget", "-qO-", `http://${web.address}:8080/`)).toEqual({
    status: 0,
    output: "served by busybox\n",
  });
  // Its own name; a service's; by the search list, that of a pod behind a headless service.
  expect((await client.exec("hostname")).output).toBe("client\n");
  const lookup = await client.exec("nslookup", "web.demo.svc.cluster.local");
  expect(lookup.output).toContain("10.96.1.1");
  expect((await ping(client, "db-0.db")).output).toContain(`(${db.address})`);
  await Promise.all([web, db, client].map((pod) => pod.remove()));
});

test("a pod outlives the daemon and containerd, and goes as it came", async () => {
  const [machine] = lab.machines;
  const old = await runPod(near, podNamed("old"));
  const peer = await runPod(far, podNamed("peer"));

  await killDaemon(machine);
  expect(await ping(old, peer.address)).toMatchObject({ status: 0 });
  const alone = await runPod(near, podNamed("made-without-daemon"));
  expect(await ping(peer, alone.address)).toMatchObject({ status: 0 });
  await old.remove();
  await startDaemonAgain(machine);
  expect(await ping(peer, alone.address)).toMatchObject({ status: 0 });

  await near.kill();
  expect(await ping(peer, alone.address)).toMatchObject({ status: 0 });
  await near.start();
  expect(await near.cri.podSandboxes()).toEqual([
    { id: alone.sandbox, name: "made-without-daemon", isReady: true },
  ]);
  expect(await ping(alone, peer.address)).toMatchObject({ status: 0 });
  await Promise.all([alone.remove(), peer.remove()]);
});

test("the node is ready for pods while the conflist is there", async () => {
  const [machine] = lab.machines;
  const conflist = outsidePath(machine.node, join(paths.cniConfDir, paths.conflist));
  const becomes = (isReady: boolean): Promise<string> =>
    waitFor(
      async () => {
        const { holds, message } = (await near.cri.status())["NetworkReady"]!;
        return holds === isReady ? message : undefined;
      },
      { what: `NetworkReady did not become ${isReady}`, deadlineMs: 5000, signal },
    );
  await becomes(true);
  await killDaemon(machine);
  rmSync(conflist);
  expect(await becomes(false)).toContain("cni plugin not initialized");
  // Written as a temporary file and renamed: containerd's watch sees no other kind of arrival.
  await startDaemonAgain(machine);
  await becomes(true);
});

test("pods of one node at once", async () => {
  const names = Array.from({ length: 8 }, (_, i) => `p${i}`);
  const pods = await Promise.all(names.map((name) => runPod(near, podNamed(name))));
  expect(new Set(pods.map(({ address }) => address)).size).toBe(names.length);
  const peer = await runPod(far, podNamed("peer"));
  const pings = await Promise.all(pods.map((pod) => ping(peer, pod.address)));
  expect(pings.map(({ status }) => status)).toEqual(names.map(() => 0));
  await Promise.all([peer, ...pods].map((pod) => pod.remove()));
});

test("a hostPort leads to the pod from everywhere, and ends with it", async () => {
  const portMappings = [{ protocol: "tcp", containerPort: 8080, hostPort: 18080 }] as const;
  const config = podNamed("web", { portMappings });
  const web = await runPod(near, config, "httpd", "-f", "-p", "8080", "-h", "/www");
  const client = await runPod(far, podNamed("client"));
  const url = "http://172.30.1.11:18080/";
  const served = { status: 0, output: "served by busybox\n" };
  expect(await client.exec("wget", "-qO-", url)).toEqual(served);
  expect(await web.exec("wget", "-qO-", url)).toEqual(served);
  expect(await fetchIn(lab.outside, url)).toBe("served by busybox");
  expect(await fetchIn(near.machine.node, url)).toBe("served by busybox");
  expect(await fetchIn(near.machine.node, "http://127.0.0.1:18080/")).toBe("served by busybox");
  await web.remove();
  await expect(fetchIn(lab.outside, url)).rejects.toThrow("fetch failed");
  await client.remove();
});

test("a pod's bandwidth annotations limit it in both directions", async () => {
  const annotations = {
    "kubernetes.io/ingress-bandwidth": "8M",
    "kubernetes.io/egress-bandwidth": "4M",
  };
  const pod = await runPod(near, podNamed("slow", { annotations }));
  const shapers = `
tc qdisc show
for sandbox in /run/netns/*; do nsenter --net="$sandbox" tc qdisc show; done`;
  const found = (await near.machine.output("sh", "-c", shapers)).split("\n");
  expect(found.filter((line) => line.includes("tbf"))).toEqual([
    expect.stringMatching(/dev fl[0-9a-f]{12} .* rate 8Mbit /),
    expect.stringMatching(/dev eth0 .* rate 4Mbit /),
  ]);
  await pod.remove();
});

test.each([5, 15, 30, 45, 60, 80])(
  "containerd killed %d ms into RunPodSandbox: nothing stays",
  async (ms) => {
    const [machine] = lab.machines;
    const running = near.cri.runPodSandbox(podNamed("half")).catch(() => undefined);
    await delay(ms);
    await near.kill();
    await running;
    await near.start();
    for (const { id } of await near.cri.podSandboxes()) {
      await near.cri.stopPodSandbox(id);
      await near.cri.removePodSandbox(id);
    }
    // Until the network is up, containerd 1.6 remembers nothing of a sandbox.
    await removeForgotten(machine);
    const whole = await runPod(near, podNamed("half"));
    await whole.remove();
  },
);

test("ctr run --cni attaches, and detaches at the end", async () => {
  const peer = await runPod(far, podNamed("peer"));
  const ctr = "ctr --namespace k8s.io run --rm --cni".split(" ");
  const look = `ip -4 -o address show dev eth0; ping -c 1 -W 2 ${peer.address}`;
  const { stdout } = await near.machine.run(...ctr, imageName, "by-hand", "sh", "-c", look);
  expect(stdout).toContain("inet 10.244.1.");
  expect(stdout).toContain("1 packets received");
  await peer.remove();
});
