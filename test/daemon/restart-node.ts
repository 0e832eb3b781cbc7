// Run inside a lab node: its daemon is stopped, killed and started again and again while pods are
// attached and detached without a pause. Prints one JSON object.
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { text } from "node:stream/consumers";
import { setTimeout } from "node:timers/promises";
import { paths } from "../../core/paths.ts";
import { readStatus } from "../../cli/status.ts";

export interface RestartFigures {
  readonly restarts: number;
  readonly requests: number;
  /** What each request that failed printed. */
  readonly failures: readonly string[];
}

const [restarts = "5", launcher = "", command = ""] = process.argv.slice(2);
const deadlineMs = 60_000;
const failures: string[] = [];
let requests = 0;
const over = new AbortController();

async function call(verb: "ADD" | "DEL", id: string, netns: string): Promise<void> {
  const child = spawn(launcher, [], {
    env: {
      CNI_COMMAND: verb,
      CNI_CONTAINERID: id,
      CNI_NETNS: netns,
      CNI_IFNAME: "eth0",
      CNI_PATH: "/usr/lib/cni",
    },
    stdio: ["pipe", "pipe", "inherit"],
  });
  const ended = once(child, "exit");
  child.stdin.end('{"cniVersion":"1.0.0","name":"fairlead","type":"fairlead"}');
  const printed = await text(child.stdout);
  const [status] = await ended;
  requests++;
  if (status !== 0) failures.push(`${verb} ${id}: ${status} ${printed}`);
}

async function attachAndDetach(): Promise<void> {
  for (let i = 0; !over.signal.aborted; i++) {
    const name = `restarting-${i}`;
    execFileSync("ip", ["netns", "add", name]);
    await call("ADD", name, `/run/netns/${name}`);
    await call("DEL", name, `/run/netns/${name}`);
    execFileSync("ip", ["netns", "delete", name]);
  }
}

function labDaemon(): number {
  const own = readlinkSync("/proc/self/ns/net");
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      if (readlinkSync(`/proc/${pid}/ns/net`) !== own) continue;
      if (readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0")[2] === "daemon") {
        return Number(pid);
      }
    } catch {
      // It ended meanwhile.
    }
  }
  throw new Error("The lab's daemon is not there");
}

/** Its lock is given back after its memory: only as a zombie it has none for sure. */
function holdsFiles(pid: number): boolean {
  try {
    return !/^State:\s*[ZX]/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}

async function startDaemon(): Promise<ChildProcess> {
  const daemon = spawn(command, ["daemon"], { stdio: ["ignore", "ignore", "inherit"] });
  await once(daemon, "spawn");
  return daemon;
}

async function isReady(): Promise<void> {
  const signal = AbortSignal.timeout(deadlineMs);
  for (;;) {
    const report = await readStatus(paths.statusSocket, signal).catch(() => undefined);
    if (report?.isReady === true) return;
    signal.throwIfAborted();
    await setTimeout(20);
  }
}

const original = readFileSync(paths.config, "utf8");
const configured = (n: number): string =>
  original
    .replace("network:\n", `network:\n  masquerade: { except: [203.0.113.${n}/32] }\n`)
    .replace("dns:\n", `dns:\n  ttl: ${n}\n`);

const working = attachAndDetach();
const first = labDaemon();
process.kill(first, "SIGKILL");
while (holdsFiles(first)) await setTimeout(5);
for (let n = 1; n <= Number(restarts); n++) {
  const daemon = await startDaemon();
  await isReady();
  // Half of it takes effect at once, the other half at the next start.
  writeFileSync(paths.config, configured(n));
  await setTimeout(300);
  const ended = once(daemon, "exit");
  daemon.kill(n % 2 === 0 ? "SIGKILL" : "SIGTERM");
  await ended;
  await setTimeout(100 * (n % 3));
}
const last = await startDaemon();
await isReady();
over.abort();
await working;
const ended = once(last, "exit");
last.kill();
await ended;
process.stdout.write(
  `${JSON.stringify({ restarts: Number(restarts) + 1, requests, failures } satisfies RestartFigures)}\n`,
);
