// What may be wrong with a lease directory, met by the Go host-local and by fairlead-ipam, with a daemon
// and without: a clear error or a safe repair, never a wrong address.
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type TwinNode, createTwinNode, serveOn } from "../cni/twin-node.ts";
import { referenceDir } from "./plugin-process.ts";

const root = join(import.meta.dirname, "../..");
const ours = ["with the daemon", "alone"] as const;
type Plugin = "host-local" | (typeof ours)[number];

let node: TwinNode;
// A network for each test, because what was released rests.
let network = "bad-0";
let directory = "";
let serial = 0;
beforeAll(async () => {
  execFileSync(process.execPath, ["scripts/build.ts"], { cwd: root, stdio: "pipe" });
  node = await createTwinNode();
  (await serveOn(node)).stdout!.resume();
});
afterAll(() => node[Symbol.asyncDispose]());

async function shell(script: string): Promise<string> {
  const path = `${process.env["PATH"]}:/usr/sbin:/sbin`;
  const { status, stdout, stderr } = await node.run(["sh", "-ec", script], { PATH: path });
  if (status !== 0) throw new Error(`${script}: ${stderr}`);
  return stdout;
}

/** A new directory as `script` makes it, which runs in it. */
async function prepare(script: string): Promise<void> {
  network = `bad-${++serial}`;
  directory = `/var/lib/cni/networks/${network}`;
  await shell(`mkdir -p ${directory}; cd ${directory}; ${script}`);
}

interface Outcome {
  /** Without the prefix; or the error object. */
  readonly address?: string;
  readonly error?: { readonly code: number; readonly msg: string; readonly details?: string };
}

async function ask(plugin: Plugin, command: string, container = "x"): Promise<Outcome> {
  const isGo = plugin === "host-local";
  const program = isGo ? `${referenceDir}/host-local` : join(root, "dist/cni/fairlead-ipam");
  const env = {
    PATH: process.env["PATH"],
    CNI_COMMAND: command,
    CNI_CONTAINERID: container,
    CNI_IFNAME: "eth0",
    CNI_NETNS: "/run/netns/none",
    CNI_PATH: referenceDir,
    ...(plugin === "alone" ? { FAIRLEAD_SOCKET: "/run/no.sock" } : {}),
  };
  const conf = {
    cniVersion: command === "STATUS" ? "1.1.0" : "1.0.0",
    name: network,
    type: "bridge",
    ipam: { type: isGo ? "host-local" : "fairlead-ipam", subnet: "10.9.0.0/29" },
  };
  const { status, stdout } = await node.run([program], env, JSON.stringify(conf));
  if (status !== 0) return { error: JSON.parse(stdout) as NonNullable<Outcome["error"]> };
  if (command !== "ADD") return {};
  const { ips } = JSON.parse(stdout) as { ips: readonly { readonly address: string }[] };
  return { address: ips[0]!.address.replace(/\/\d+$/, "") };
}

const names = async (): Promise<string[]> =>
  (await shell(`cd ${directory}; ls -A`)).split("\n").filter((name) => name !== "");

describe.each([
  // What a killed host-local leaves, and a power cut.
  ["empty", "touch 10.9.0.2", "10.9.0.3", "10.9.0.2"],
  ["full of zeros", "head -c 11 /dev/zero >10.9.0.2", "10.9.0.3", "10.9.0.2"],
  // Whose it may be cannot be told: it stays his.
  ["cut in the container's id", "printf 8f2a >10.9.0.2", "10.9.0.3", "10.9.0.3"],
  ["somebody else's", "head -c 100000 /dev/urandom >10.9.0.2", "10.9.0.3", "10.9.0.3"],
  ["a directory", "mkdir 10.9.0.2; printf 'x\\r\\neth0' >10.9.0.2/file", "10.9.0.3", "10.9.0.3"],
  ["a link to nowhere", "ln -s /nowhere 10.9.0.2", "10.9.0.3", "10.9.0.3"],
  ["a pipe", "mkfifo 10.9.0.2", undefined, "10.9.0.3"],
])("an address's file that is %s", (_, script, byReference, byUs) => {
  test.runIf(byReference !== undefined)(`is passed over by host-local`, async () => {
    await prepare(script);
    // A second container: whatever reads as the first one's must not become a duplicate.
    expect(await ask("host-local", "ADD", "y")).toEqual({ address: byReference });
  });

  test.each(ours)(`is safe for fairlead-ipam, %s`, async (plugin) => {
    await prepare(script);
    expect(await ask(plugin, "ADD", "y")).toEqual({ address: byUs });
    // Neither is given again, and a DEL takes its own file only.
    const next = await ask(plugin, "ADD", "z");
    expect(next.address).not.toBe(byUs);
    await ask(plugin, "DEL", "y");
    await ask(plugin, "DEL", "z");
    const left = (await names()).filter((name) => name.startsWith("10."));
    expect(left).toEqual(byUs === "10.9.0.2" ? [] : ["10.9.0.2"]);
  });
});

describe.each(ours)("fairlead-ipam, %s, says what is wrong with", (plugin) => {
  test("a lease that cannot be removed, which host-local forgets", async () => {
    const lease = `printf 'x\\r\\neth0' >10.9.0.2; mount --bind 10.9.0.2 10.9.0.2`;
    await prepare(lease);
    expect(await ask("host-local", "DEL")).toEqual({});
    expect(await names()).toContain("10.9.0.2");
    const { error } = await ask(plugin, "DEL");
    expect(error).toMatchObject({ code: 5, details: expect.stringContaining("10.9.0.2") });
    // It is nobody else's meanwhile.
    expect(await ask(plugin, "ADD", "y")).toEqual({ address: "10.9.0.3" });
  });

  test("a file system that is read-only", async () => {
    await prepare(`mount -t tmpfs none "$PWD"; cd "$PWD"; touch lock; mount -o remount,ro "$PWD"`);
    expect((await ask("host-local", "ADD")).error).toBeDefined();
    const { error } = await ask(plugin, "ADD");
    expect(error).toMatchObject({ code: 5, msg: expect.stringContaining(directory) });
    expect(error?.details).toContain("read-only file system");
    expect(await names()).toEqual(["lock"]);
  });

  test.each([
    ["octets", "size=8k", "head -c 1000000 /dev/zero >filler 2>/dev/null || true"],
    ["files", "nr_inodes=3", "touch filler"],
  ])("a disk without %s left, and gives the address when there are", async (_, options, fill) => {
    await prepare(`mount -t tmpfs -o ${options} none "$PWD"; cd "$PWD"; touch lock; ${fill}`);
    const { error } = await ask(plugin, "ADD");
    expect(error).toMatchObject({ code: 5, msg: expect.stringContaining(directory) });
    expect(error?.details).toContain("no space left");
    expect(await names()).toEqual(["filler", "lock"]);
    await shell(`rm ${directory}/filler; mount -o remount,size=1m,nr_inodes=100 ${directory}`);
    expect(await ask(plugin, "ADD")).toEqual({ address: "10.9.0.2" });
  });

  test("a lock that somebody holds for good", async () => {
    await prepare("touch lock");
    const holder = await node.start([
      "flock",
      `${directory}/lock`,
      "sh",
      "-c",
      "echo ready; exec cat",
    ]);
    for (const command of ["ADD", "DEL"]) {
      const { error } = await ask(plugin, command);
      expect(error).toMatchObject({ code: 11, msg: expect.stringContaining(`${directory}/lock`) });
    }
    const ended = new Promise((resolve) => holder.once("exit", resolve));
    holder.stdin!.end();
    await ended;
    expect(await ask(plugin, "ADD")).toEqual({ address: "10.9.0.2" });
  }, 60_000);
});
