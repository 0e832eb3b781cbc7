// Run inside a lab node by soak.ts: a storm of requests through the launcher, with launchers and daemon
// killed (SIGKILL) at random moments. Each worker has one attachment after another: added, checked and
// removed; or added, checked and removed all at once; or left behind, for GC to find. Writes one JSON
// object: what was done, and what is left.
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import {
  closeSync,
  existsSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { setTimeout } from "node:timers/promises";
import { isPodHostInterface, nftTableName } from "../../core/names.ts";
import { paths } from "../../core/paths.ts";
import { seededRandom } from "../support/random.ts";

export interface CniSoakFigures {
  readonly pairs: number;
  readonly launcherKills: number;
  /** Of daemons that served. */
  readonly daemonKills: number;
  /** ADDs that answered with a result; the others were killed, or raced with their own DEL. */
  readonly added: number;
  /** CHECKs of what had just been added, all passed. */
  readonly checked: number;
  /** Of the pairs, those whose requests were made all at once. */
  readonly races: number;
  /** Attachments without a DEL, and the GCs that found them. */
  readonly abandoned: number;
  readonly collections: number;
  readonly left: Leftovers;
}

export type Leftovers = Readonly<Record<keyof typeof counters, number>>;

const [count = "20", seed = "1", workerCount = "4", launcher = "", command = "", output = ""] =
  process.argv.slice(2);
const random = seededRandom(Number(seed));
const workers = Number(workerCount);
const pairsPerDaemonKill = 10;
// A runtime repeats a DEL until it succeeds, but not for ever.
const attempts = 20;
// The interface is removed after DEL has answered.
const settleMs = 10_000;
// On a busy machine Node takes its time to start.
const serveDeadlineMs = 60_000;

const done = {
  pairs: 0,
  launcherKills: 0,
  daemonKills: 0,
  added: 0,
  checked: 0,
  races: 0,
  abandoned: 0,
  collections: 0,
};

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
  const elements = nftables.flatMap((object) => (object["map"] ?? object["set"])?.elem ?? []);
  return elements.filter((element) => !isPassing(element)).length;
}

/** That the resolver answers is an element that ends by itself, and comes again while it does. */
const isPassing = (element: unknown): boolean => JSON.stringify(element).includes('"expires":');

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

interface Attachment {
  readonly id: string;
  readonly netns: string;
  readonly ifName: string;
  /** Told with every request. */
  readonly runtimeConfig?: object;
}

const portOf = (number: number): object => ({
  portMappings: [{ protocol: "tcp", hostPort: 20_000 + number, containerPort: 80 }],
});

interface Asked {
  /** Further keys of the configuration. */
  readonly conf?: object;
  readonly killAfterMs?: number | undefined;
}

/** The exit status; undefined when it was killed, after `killAfterMs`. */
async function call(
  verb: "ADD" | "CHECK" | "DEL" | "GC",
  { id, netns, ifName, runtimeConfig }: Attachment,
  { conf, killAfterMs }: Asked = {},
) {
  const child = spawn(launcher, [], {
    env: {
      CNI_COMMAND: verb,
      CNI_CONTAINERID: id,
      CNI_NETNS: netns,
      CNI_IFNAME: ifName,
      CNI_PATH: "/usr/lib/cni",
    },
    stdio: ["pipe", "pipe", "inherit"],
  });
  const ended = once(child, "exit");
  const printed = text(child.stdout);
  child.stdin.on("error", () => undefined);
  const list = { cniVersion: "1.1.0", name: "fairlead", type: "fairlead" };
  child.stdin.end(JSON.stringify({ ...list, runtimeConfig, ...conf }));
  if (killAfterMs !== undefined) {
    await Promise.race([ended, setTimeout(killAfterMs)]);
    if (child.kill("SIGKILL")) done.launcherKills++;
  }
  const [status] = await ended;
  return { status: typeof status === "number" ? status : undefined, printed: await printed };
}

const killMoment = (oneIn: number): number | undefined =>
  random.below(oneIn) === 0 ? random.below(8) : undefined;

const add = async (attachment: Attachment): Promise<string | undefined> => {
  const { status, printed } = await call("ADD", attachment, { killAfterMs: killMoment(3) });
  if (status !== 0) return undefined;
  done.added++;
  return printed;
};

/** As a runtime: again until it succeeds, where it may be killed or the machine too busy (error 11). */
async function succeed(
  verb: "CHECK" | "DEL" | "GC",
  attachment: Attachment,
  conf: object = {},
): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    const killAfterMs = killMoment(6);
    const { status, printed } = await call(verb, attachment, { conf, killAfterMs });
    if (status === 0) return;
    const isFinal = verb === "CHECK" && status !== undefined && !/"code": 11\b/.test(printed);
    if (isFinal || attempt === attempts)
      throw new Error(`${verb} of ${attachment.id} does not succeed: ${printed}`);
  }
}

async function oneByOne(attachment: Attachment): Promise<void> {
  const result = await add(attachment);
  if (result !== undefined && random.below(2) === 0) {
    await succeed("CHECK", attachment, { prevResult: JSON.parse(result) as unknown });
    done.checked++;
  }
  await succeed("DEL", attachment);
}

/** What no runtime should do: whatever comes of each, the DEL after them leaves nothing. */
async function allAtOnce(attachment: Attachment): Promise<void> {
  const conf = { prevResult: { cniVersion: "1.1.0", ips: [] } };
  await Promise.all([
    add(attachment),
    call("DEL", attachment, { killAfterMs: killMoment(3) }),
    add(attachment),
    call("CHECK", attachment, { conf, killAfterMs: killMoment(3) }),
  ]);
  done.races++;
  await succeed("DEL", attachment);
}

async function pair(attachment: Attachment): Promise<void> {
  await (random.below(4) === 0 ? allAtOnce(attachment) : oneByOne(attachment));
  done.pairs++;
}

// All that ever is here but what was left behind: so GC finds that, and hides no leak of the others.
const kept = Array.from({ length: Number(count) }, (_, at) => ({
  containerID: `soak-${at}`,
  ifname: "eth0",
}));
const collect = async (): Promise<void> => {
  const attachment = { id: "gc", netns: "", ifName: "eth0" };
  await succeed("GC", attachment, { "cni.dev/valid-attachments": kept });
  done.collections++;
};

// Nothing that a request may trip over or take away: others may have put it there.
const oddities = (): readonly string[] => {
  const directory = join(paths.leases, "fairlead");
  const { podCidrs } = JSON.parse(readFileSync(paths.nodeFacts, "utf8")) as { podCidrs: string[] };
  const address = podCidrs[0]!.replace(/\d+\/\d+$/, "200");
  return ["fifo", address, "directory", "link"].map((name) => join(directory, name));
};
function putOddities([
  fifo = "",
  address = "",
  directory = "",
  link = "",
]: readonly string[]): void {
  mkdirSync(directory, { recursive: true });
  run("mkfifo", fifo, address);
  symlinkSync("/nowhere", link);
}
const kindsOf = (files: readonly string[]): string =>
  files.map((file) => lstatSync(file).mode >> 12).join(" ");

const daemonLog = `${output}.log`;
let daemon: ChildProcess | undefined;
async function startDaemon(): Promise<void> {
  const log = openSync(daemonLog, "w");
  daemon = spawn(command, ["daemon"], { stdio: ["ignore", "ignore", log] });
  closeSync(log);
  await once(daemon, "spawn");
}

/** Requests without it must not keep it away. */
async function untilServing(): Promise<void> {
  const giveUpAt = performance.now() + serveDeadlineMs;
  while (!(await isServing())) {
    const ended = daemon?.exitCode ?? daemon?.signalCode ?? undefined;
    if (ended !== undefined) {
      throw new Error(`The daemon ended: ${ended}\n${readFileSync(daemonLog, "utf8")}`);
    }
    if (performance.now() > giveUpAt) throw new Error("The daemon does not serve");
    await setTimeout(10);
  }
}

const isServing = (): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(paths.cniSocket);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });

async function killDaemon(): Promise<void> {
  if (daemon === undefined || daemon.exitCode !== null) return;
  const ended = once(daemon, "exit");
  daemon.kill("SIGKILL");
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
  const netns = `/run/netns/${name}`;
  run("ip", "netns", "add", name);
  for (let i = worker; i < Number(count); i += workers) {
    const ports = i % 3 === 0 ? { runtimeConfig: portOf(i) } : {};
    await pair({ id: `soak-${i}`, netns, ifName: "eth0", ...ports });
    if (random.below(8) === 0) {
      await add({ id: `lost-${i}`, netns, ifName: `lost${i}` });
      done.abandoned++;
    }
    if (random.below(16) === 0) await collect();
    if (worker !== 0 || done.pairs < (done.daemonKills + 1) * pairsPerDaemonKill) continue;
    await untilServing();
    await killDaemon();
    done.daemonKills++;
    await setTimeout(random.below(200));
    await startDaemon();
  }
}

await replaceLabDaemon();
const odd = oddities();
putOddities(odd);
const oddKinds = kindsOf(odd);
await Promise.all(Array.from({ length: workers }, (_, worker) => work(worker)));
for (let worker = 0; worker < workers; worker++) run("ip", "netns", "delete", `soak-${worker}`);
if (kindsOf(odd) !== oddKinds) throw new Error(`Other's files were changed: ${odd.join(" ")}`);
const giveUpAt = performance.now() + settleMs;
let left: Leftovers;
do {
  // A launcher that was killed last may have a request at work yet, which GC lets be.
  await collect();
  await setTimeout(50);
  left = leftovers();
} while (Object.values(left).some((some) => some !== 0) && performance.now() < giveUpAt);
writeFileSync(output, JSON.stringify({ ...done, left } satisfies CniSoakFigures));
await killDaemon();
