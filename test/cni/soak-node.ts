// Run inside a lab node by soak.ts: ADD and DEL through the launcher, with launchers and daemon killed
// (SIGKILL) at random moments. Writes one JSON object: what was done, and what is left.
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, readdirSync, readlinkSync, writeFileSync } from "node:fs";
import { text } from "node:stream/consumers";
import { setTimeout } from "node:timers/promises";
import { isPodHostInterface, nftTableName } from "../../core/names.ts";
import { paths } from "../../core/paths.ts";
import { seededRandom } from "../support/random.ts";

export interface CniSoakFigures {
  readonly pairs: number;
  readonly launcherKills: number;
  readonly daemonKills: number;
  /** ADDs that answered with a result; the others were killed or met no daemon. */
  readonly added: number;
  readonly left: Leftovers;
}

export type Leftovers = Readonly<Record<keyof typeof counters, number>>;

const [count = "20", seed = "1", launcher = "", command = "", output = ""] = process.argv.slice(2);
const random = seededRandom(Number(seed));
const workers = 4;
const pairsPerDaemonKill = 10;
// A runtime repeats a DEL until it succeeds.
const delAttempts = 20;
// The interface is removed after DEL has answered.
const settleMs = 5_000;

const done = { pairs: 0, launcherKills: 0, daemonKills: 0, added: 0 };

const run = (file: string, ...args: readonly string[]): string =>
  execFileSync(file, args, { encoding: "utf8" });
const countOf = (text: string, pattern: RegExp): number =>
  text.split("\n").filter((line) => pattern.test(line)).length;
const podDevice = /\bfl[0-9a-f]{12}\b/;

function filesIn(directory: string, isCounted: (name: string) => boolean): number {
  if (!existsSync(directory)) return 0;
  return readdirSync(directory, { recursive: true, withFileTypes: true }).filter(
    (entry) => entry.isFile() && isCounted(entry.name),
  ).length;
}

function nftElements(): number {
  const { nftables } = JSON.parse(run("nft", "-j", "list", "table", "inet", nftTableName)) as {
    nftables: Record<string, { elem?: unknown[] }>[];
  };
  return nftables.flatMap((object) => (object["map"] ?? object["set"])?.elem ?? []).length;
}

/** Command lines of this node's processes, which is to say of this network namespace. */
function commandsHere(): readonly { readonly pid: number; readonly words: readonly string[] }[] {
  const own = readlinkSync("/proc/self/ns/net");
  return readdirSync("/proc").flatMap((pid) => {
    try {
      if (!/^\d+$/.test(pid) || readlinkSync(`/proc/${pid}/ns/net`) !== own) return [];
      const words = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
      return [{ pid: Number(pid), words }];
    } catch {
      return []; // It ended meanwhile.
    }
  });
}

const nftElementsBefore = nftElements();
/** In each place where attachments leave something, how much of it there is. */
const counters = {
  interfaces: () => readdirSync("/sys/class/net").filter(isPodHostInterface).length,
  routes: () =>
    countOf(run("ip", "route", "show", "table", "all"), podDevice) +
    countOf(run("ip", "-6", "route", "show", "table", "all"), podDevice),
  neighbors: () => countOf(run("ip", "neighbor", "show", "nud", "all"), podDevice),
  leases: () => filesIn(paths.leases, (name) => !/^(lock|last_reserved_ip\.\d+)$/.test(name)),
  nftElements: () => nftElements() - nftElementsBefore,
  records: () => filesIn(paths.attachments, (name) => !name.endsWith(".lock")),
  locks: () => filesIn(paths.attachments, (name) => name.endsWith(".lock")),
  processes: () =>
    commandsHere().filter(({ words }) =>
      words.slice(0, 2).some((word) => word === launcher || word.endsWith("/plugin.js")),
    ).length,
};

const leftovers = (): Leftovers => ({
  interfaces: counters.interfaces(),
  routes: counters.routes(),
  neighbors: counters.neighbors(),
  leases: counters.leases(),
  nftElements: counters.nftElements(),
  records: counters.records(),
  locks: counters.locks(),
  processes: counters.processes(),
});

/** The exit status; undefined when it was killed, after `killAfterMs`. */
async function call(verb: "ADD" | "DEL", id: string, netns: string, killAfterMs?: number) {
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
  const printed = text(child.stdout);
  child.stdin.on("error", () => undefined);
  child.stdin.end('{"cniVersion":"1.0.0","name":"fairlead","type":"fairlead"}');
  if (killAfterMs !== undefined) {
    await Promise.race([ended, setTimeout(killAfterMs)]);
    if (child.kill("SIGKILL")) done.launcherKills++;
  }
  const [status] = await ended;
  return { status: typeof status === "number" ? status : undefined, printed: await printed };
}

const killMoment = (oneIn: number): number | undefined =>
  random.below(oneIn) === 0 ? random.below(8) : undefined;

async function pair(id: string, netns: string): Promise<void> {
  const { status } = await call("ADD", id, netns, killMoment(3));
  if (status === 0) done.added++;
  for (let attempt = 1; ; attempt++) {
    const { status: deleted, printed } = await call("DEL", id, netns, killMoment(6));
    if (deleted === 0) break;
    if (attempt === delAttempts) throw new Error(`DEL of ${id} does not succeed: ${printed}`);
  }
  done.pairs++;
}

let daemon: ChildProcess | undefined;
async function startDaemon(): Promise<void> {
  daemon = spawn(command, ["daemon"], { stdio: ["ignore", "ignore", "ignore"] });
  await once(daemon, "spawn");
}

async function killDaemon(): Promise<void> {
  const ended = daemon && once(daemon, "exit");
  daemon?.kill("SIGKILL");
  await ended;
}

// The lab's own daemon gives way to one that may be killed here.
async function replaceLabDaemon(): Promise<void> {
  const found = commandsHere().find(({ words }) => words[2] === "daemon");
  if (found === undefined) throw new Error("The lab's daemon is not there");
  process.kill(found.pid, "SIGKILL");
  while (existsSync(`/proc/${found.pid}/exe`)) await setTimeout(5);
  await startDaemon();
}

async function work(worker: number): Promise<void> {
  const name = `soak-${worker}`;
  run("ip", "netns", "add", name);
  for (let i = worker; i < Number(count); i += workers) {
    await pair(`${name}-${i}`, `/run/netns/${name}`);
    if (worker !== 0 || done.pairs < (done.daemonKills + 1) * pairsPerDaemonKill) continue;
    await killDaemon();
    done.daemonKills++;
    await setTimeout(random.below(200));
    await startDaemon();
  }
  run("ip", "netns", "delete", name);
}

await replaceLabDaemon();
await Promise.all(Array.from({ length: workers }, (_, worker) => work(worker)));
const giveUpAt = performance.now() + settleMs;
let left = leftovers();
while (Object.values(left).some((some) => some !== 0) && performance.now() < giveUpAt) {
  await setTimeout(50);
  left = leftovers();
}
writeFileSync(output, JSON.stringify({ ...done, left } satisfies CniSoakFigures));
await killDaemon();
