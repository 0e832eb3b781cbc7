// A real etcd (Debian's etcd-server) of one member, on ports of this machine's loopback that are free.
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { describeError } from "../../core/error.ts";
import { EtcdClient } from "../../daemon/etcd/client.ts";

export interface EtcdServer extends AsyncDisposable {
  readonly endpoint: string;
  /** As SIGKILL: what it has answered is on its disk. */
  kill(): Promise<void>;
  /** Does not answer until it is continued; its connections stay open. */
  pause(): Promise<void>;
  continue(): void;
  /** At the same port, with the same data. */
  start(): Promise<void>;
  /** Its data as they are now, into a file. */
  save(file: string): void;
  /** Serves these data in place of its own, at the same port, as operators restore: under another cluster id. */
  restore(file: string): Promise<void>;
}

export interface EtcdServerOptions {
  /** Further arguments of etcd. */
  readonly args?: readonly string[];
  readonly scheme?: "http" | "https";
  /** Resolves when it serves; default: when a key can be read without credentials. */
  readonly isUp?: (endpoint: string) => Promise<void>;
}

const waitMs = 30_000;

export async function startEtcd(options: EtcdServerOptions = {}): Promise<EtcdServer> {
  const { scheme = "http", args = [], isUp = answers } = options;
  const directory = mkdtempSync(join(tmpdir(), "fairlead-etcd-"));
  const [client = 0, peer = 0] = await freePorts(2);
  const endpoint = `${scheme}://127.0.0.1:${client}`;
  let child: ChildProcess | undefined;
  const kill = async (): Promise<void> => {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exit = once(child, "exit");
    child.kill("SIGKILL");
    await exit;
  };
  const start = async (): Promise<void> => {
    child = spawn(
      // It ends with this process, also where that is killed.
      "setpriv",
      [
        "--pdeathsig=KILL",
        "etcd",
        `--data-dir=${directory}`,
        "--logger=zap",
        "--log-level=error",
        `--listen-client-urls=${endpoint}`,
        `--advertise-client-urls=${endpoint}`,
        `--listen-peer-urls=http://127.0.0.1:${peer}`,
        `--initial-advertise-peer-urls=http://127.0.0.1:${peer}`,
        `--initial-cluster=default=http://127.0.0.1:${peer}`,
        "--unsafe-no-fsync",
        ...args,
      ],
      { stdio: ["ignore", "ignore", "inherit"] },
    );
    await isUp(endpoint);
  };
  const etcdctl = (...words: readonly string[]): void => {
    const env = { ...process.env, ETCDCTL_API: "3" };
    execFileSync("etcdctl", [`--endpoints=${endpoint}`, ...words], { env, stdio: "pipe" });
  };
  await start();
  return {
    endpoint,
    kill,
    start,
    save: (file) => etcdctl("snapshot", "save", file),
    restore: async (file) => {
      await kill();
      rmSync(directory, { recursive: true });
      const member = `http://127.0.0.1:${peer}`;
      etcdctl(
        "snapshot",
        "restore",
        file,
        `--data-dir=${directory}`,
        `--initial-cluster=default=${member}`,
        `--initial-advertise-peer-urls=${member}`,
        "--initial-cluster-token=restored",
      );
      await start();
    },
    pause: async () => {
      child?.kill("SIGSTOP");
      await untilStopped(child?.pid ?? Number.NaN);
    },
    continue: () => void child?.kill("SIGCONT"),
    [Symbol.asyncDispose]: async () => {
      await kill();
      rmSync(directory, { recursive: true });
    },
  };
}

async function answers(endpoint: string): Promise<void> {
  using client = new EtcdClient({ endpoints: [endpoint] });
  await untilAnswered(() => client.get("none", AbortSignal.timeout(waitMs)));
}

export async function untilAnswered(ask: () => Promise<unknown>): Promise<void> {
  const deadline = performance.now() + waitMs;
  for (;;) {
    try {
      await ask();
      return;
    } catch (error) {
      if (performance.now() > deadline) {
        throw new Error(`etcd does not answer: ${describeError(error)}`, { cause: error });
      }
      await setTimeout(50);
    }
  }
}

// One of its threads takes the signal and stops the others, and until it has its turn they go on.
async function untilStopped(pid: number): Promise<void> {
  const tasks = `/proc/${pid}/task`;
  const state = (thread: string): string | undefined =>
    /\) (\w)/.exec(readFileSync(join(tasks, thread, "stat"), "utf8"))?.[1];
  while (readdirSync(tasks).some((thread) => state(thread) !== "T")) await setTimeout(1);
}

// All are held until the last one is found: the next one might be the same otherwise.
async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, "127.0.0.1"));
  await Promise.all(servers.map((server) => once(server, "listening")));
  const ports = servers.map((server) => {
    const address = server.address();
    if (address === null || typeof address === "string") throw new Error("no port");
    return address.port;
  });
  await Promise.all(servers.map((server) => once(server.close(), "close")));
  return ports;
}
