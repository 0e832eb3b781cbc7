// A node made of namespaces: own network, mounts, /run and /var/lib, so that the fixed paths are its
// own. It ends with the process that holds it, which ends with the test.
import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { type NodeFacts, formatNodeFacts } from "../../core/node-facts.ts";
import { paths } from "../../core/paths.ts";
import { cidr, ip } from "../support/builders.ts";

export const facts: NodeFacts = {
  version: 1,
  nodeName: "node-a",
  network: "fairlead",
  podCidrs: [cidr("10.244.1.0/24"), cidr("fd00:10:244:1::/64")],
  nodeAddresses: [ip("192.0.2.1"), ip("2001:db8::1")],
  mtu: 1450,
  dns: {
    nameservers: [ip("10.96.0.10")],
    domain: "cluster.local",
    search: ["svc.cluster.local", "cluster.local"],
    options: ["ndots:5"],
  },
  bootId: readFileSync(paths.bootId, "utf8").trim(),
};

export interface Outcome {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface TwinNode extends AsyncDisposable {
  /** Runs a program on the node, with this environment alone. */
  run(
    command: readonly string[],
    env?: Readonly<Record<string, string | undefined>>,
    stdin?: string,
  ): Promise<Outcome>;
  /** Starts a program on the node; resolves when it prints its first line. It ends with the node. */
  start(command: readonly string[]): Promise<ChildProcess>;
}

const nodeScript = `set -e
mount -t tmpfs none /run
mount -t tmpfs none /var/lib
mkdir /run/fairlead
[ -z "$1" ] || printf %s "$1" >${paths.nodeFacts}
ip link set lo up
ip link add uplink type veth peer name uplink-far
ip address add 192.0.2.1/24 dev uplink
ip address add 2001:db8::1/64 dev uplink nodad
ip link set uplink up
echo ready
exec cat`;

/** The node of {@link facts}, without a daemon; `nodeFacts` is the text of its node.json. */
export async function createTwinNode(nodeFacts = formatNodeFacts(facts)): Promise<TwinNode> {
  const unshare = ["unshare", "--mount", "--net", "--propagation", "private"];
  const holder = await hold([...unshare, "sh", "-c", nodeScript, "node", nodeFacts]);
  const target = `--target=${holder.pid}`;
  // With its root and working directory: in a chroot, those of its mount namespace are others.
  const enter = ["nsenter", target, "--mount", "--net", "--root", "--wd", "--"];
  const started: ChildProcess[] = [];
  return {
    run: (command, env = {}, stdin = "") => run([...enter, ...command], env, stdin),
    start: async (command) => {
      const child = await hold([...enter, ...command]);
      started.push(child);
      return child;
    },
    [Symbol.asyncDispose]: async () => {
      for (const child of [...started.toReversed(), holder]) await end(child);
    },
  };
}

export interface TestSandbox extends AsyncDisposable {
  /** A path that means the same on every node. */
  readonly path: string;
}

export async function createSandbox(): Promise<TestSandbox> {
  const holder = await hold(["unshare", "--net", "sh", "-c", "echo ready; exec cat"]);
  return { path: `/proc/${holder.pid}/ns/net`, [Symbol.asyncDispose]: () => end(holder) };
}

/** Serves the same handlers that plugin/main.ts has, on the node's socket. */
export const serveOn = (node: TwinNode): Promise<ChildProcess> =>
  node.start([process.execPath, join(import.meta.dirname, "serve-node.ts")]);

async function run(
  [program = "", ...args]: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
  stdin: string,
): Promise<Outcome> {
  const child = spawn(program, args, { env, stdio: "pipe" });
  const status = new Promise<number | null>((resolve, reject) => {
    child.once("error", reject).once("exit", resolve);
  });
  child.stdin.on("error", () => undefined);
  child.stdin.end(stdin);
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
  return { status: await status, stdout, stderr };
}

/** A process that prints a line when it is ready, and ends when its standard input does. */
async function hold([program = "", ...args]: readonly string[]): Promise<ChildProcess> {
  const child = spawn(program, args, { stdio: ["pipe", "pipe", "inherit"] });
  await new Promise<void>((resolve, reject) => {
    child.stdout.once("data", () => resolve());
    child.once("error", reject);
    child.once("exit", (status) => reject(new Error(`${program} ended with status ${status}`)));
  });
  return child;
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.stdin?.end();
  await ended;
}
