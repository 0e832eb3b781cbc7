// Run on a node by storm.ts: 20 workers who have addresses given, checked and taken back in one
// directory, each time by another of those who may do it. Prints one JSON object.
// With kills, processes die at random moments, the daemon too, until there were as many.
// Arguments: requests of each worker, seed, the launcher under its name fairlead-ipam, kills.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { CniCode, CniError } from "../../core/cni/error.ts";
import { paths } from "../../core/paths.ts";
import { validityOf } from "../../ipam/lease.ts";
import { openIpam } from "../../ipam/store.ts";
import { systemClock } from "../../kernel/clock.ts";
import { seededRandom } from "../support/random.ts";
import { add, key, never, ranges } from "./lease-directory.ts";
import { type PluginCall, callPlugin, referenceDir } from "./plugin-process.ts";

export const implementations = ["host-local", "served", "alone", "store"] as const;
type Implementation = (typeof implementations)[number];

export interface StormFigures {
  /** Processes that were killed before they had answered, and daemons. */
  readonly kills: Record<Exclude<Implementation, "store"> | "daemon", number>;
  readonly requests: Record<Implementation, number>;
  readonly added: number;
  /** An address of which the last holder was another. */
  readonly passedOn: number;
  /** Answered with error 11: whoever waits in the kernel for the lock, as host-local does, comes first. */
  readonly late: number;
}

const [turns = "10", seed = "1", launcher = "", killsWanted = "0"] = process.argv.slice(2);
const isKilling = Number(killsWanted) > 0;
const workers = 20;
const containersEach = 3;
const network = "storm";
// One address more than there are containers, so that each is soon another's. A killed host-local leaves
// empty files besides, which it does not reclaim.
const sets = isKilling
  ? ranges("10.9.0.0/25", "fd00:9::/121")
  : ranges("10.9.0.0/26", "fd00:9::/122");
const conf = (type: string) => ({
  cniVersion: "1.0.0",
  name: network,
  type: "bridge",
  ipam: { type, ranges: sets },
});

const random = seededRandom(Number(seed));
const store = openIpam({ clock: systemClock });
const done = { added: 0, passedOn: 0, late: 0 };
const requests: Record<Implementation, number> = { "host-local": 0, served: 0, alone: 0, store: 0 };
/** Who surely holds an address: from the answer to ADD until DEL begins. */
const holders = new Map<string, string>();
const lastHolders = new Map<string, string>();
/** What is not known to hold something holds nothing; "unknown": a request for it was killed. */
const held = new Map<string, readonly string[] | "unknown">();
/** The daemon may still be at the killed request: the next goes through it, as a runtime's does. */
const mustBeServed = new Set<string>();
const kills = { "host-local": 0, served: 0, alone: 0, daemon: 0 };
const killCount = (): number => Object.values(kills).reduce((sum, count) => sum + count, 0);
/** Within which most requests of a kind are under way, on a machine with nothing else to do. */
const longestMs = { "host-local": 7, served: 5, alone: 120 } as const;

type Verb = "ADD" | "DEL" | "CHECK";
/**
 * The addresses that ADD gave, none for the others; undefined when it was refused. "late": error 11, the
 * lock was always another's.
 */
type Answer = readonly string[] | undefined | "killed" | "late";

// A process of Node's own costs as much as all the others.
const weighted: readonly Implementation[] = [
  ...Array<Implementation>(5).fill("host-local"),
  ...Array<Implementation>(5).fill("served"),
  ...Array<Implementation>(5).fill("store"),
  "alone",
];

async function askStore(verb: Verb, id: string): Promise<Answer> {
  const attachment = key(id, "eth0", network);
  try {
    if (verb === "ADD") return await add(store, attachment, { ranges: sets });
    if (verb === "DEL") await store.release(attachment, never);
    else if (!(await store.leases(network)).some(validityOf([attachment]))) return undefined;
    return [];
  } catch (error) {
    if (error instanceof CniError && error.code === CniCode.tryAgainLater) return "late";
    throw new Error(`store ${verb} ${id} failed`, { cause: error });
  }
}

interface Asked {
  readonly verb: Verb;
  readonly container: string;
  readonly mayBeKilled: boolean;
}

async function askProcess(
  how: Exclude<Implementation, "store">,
  { verb, container, mayBeKilled }: Asked,
): Promise<Answer> {
  const isGo = how === "host-local";
  const call: PluginCall = {
    plugin: isGo ? `${referenceDir}/host-local` : launcher,
    command: verb,
    conf: conf(isGo ? "host-local" : "fairlead-ipam"),
    container,
    env: how === "alone" ? { FAIRLEAD_SOCKET: "/run/no.sock" } : {},
    killAfterMs: mayBeKilled && random.below(3) > 0 ? random.below(longestMs[how]) : undefined,
  };
  const { status, stdout, stderr, isKilled } = await callPlugin(call);
  if (isKilled) {
    kills[how]++;
    return "killed";
  }
  if (status === 0 && verb === "ADD") {
    const { ips } = JSON.parse(stdout) as { ips: readonly { readonly address: string }[] };
    return ips.map(({ address }) => address.replace(/\/\d+$/, ""));
  }
  if (status === 0) return [];
  if (!isGo && (JSON.parse(stdout) as { code: number }).code === 11) return "late";
  const isExpected =
    verb === "CHECK" || (isGo && verb === "ADD" && stdout.includes("duplicate allocation"));
  if (!isExpected) throw new Error(`${how} ${verb} ${container}: ${stdout} ${stderr}`);
  return undefined;
}

/** True when it was answered. */
async function turn(id: string, wanted?: Verb): Promise<boolean> {
  const verb = wanted ?? (["ADD", "ADD", "DEL", "CHECK"] as const)[random.below(4)]!;
  const how = mustBeServed.has(id) ? "served" : weighted[random.below(weighted.length)]!;
  const before = held.get(id) ?? [];
  if (verb === "DEL" && before !== "unknown") for (const one of before) holders.delete(one);
  const asked = { verb, container: id, mayBeKilled: isKilling && wanted === undefined };
  const answer = how === "store" ? await askStore(verb, id) : await askProcess(how, asked);
  requests[how]++;
  const when = `seed ${seed}, ${how} ${verb} ${id}, which holds "${String(before)}"`;
  mustBeServed.delete(id);
  if (answer === "killed" || answer === "late") {
    if (answer === "late") done.late++;
    else if (how === "served") mustBeServed.add(id);
    // What is held stays held, but for DEL.
    if (verb === "DEL" || (verb === "ADD" && before.length === 0)) held.set(id, "unknown");
  } else if (verb === "DEL") held.delete(id);
  else if (verb === "ADD") noteAdded(id, answer, when);
  else if (before !== "unknown" && (answer !== undefined) !== before.length > 0) {
    throw new Error(`${when}: answered ${answer === undefined ? "no" : "yes"}`);
  }
  return answer !== "killed" && answer !== "late";
}

/** As a runtime repeats a DEL. */
async function free(id: string): Promise<void> {
  for (let attempt = 0; attempt < 20; attempt++) if (await turn(id, "DEL")) return;
  throw new Error(`seed ${seed}: DEL of ${id} does not succeed`);
}

function noteAdded(id: string, answer: readonly string[] | undefined, when: string): void {
  const before = held.get(id) ?? [];
  // host-local refuses what a killed request has left half.
  if (answer === undefined && before === "unknown") return;
  if (answer === undefined && before.length === 0) throw new Error(`${when}: refused`);
  const known = before === "unknown" ? [] : before;
  const given = answer ?? known;
  if (given.length !== sets.length || (known.length > 0 && given.join() !== known.join())) {
    throw new Error(`${when}: got "${given.join()}"`);
  }
  for (const address of given) {
    const holder = holders.get(address) ?? id;
    if (holder !== id) throw new Error(`${when}: got ${address}, which ${holder} holds`);
    if ((lastHolders.get(address) ?? id) !== id) done.passedOn++;
    holders.set(address, id);
    lastHolders.set(address, id);
  }
  held.set(id, given);
  done.added++;
}

async function work(worker: number): Promise<void> {
  const id = () => `storm-${worker}-${random.below(containersEach)}`;
  for (let i = 0; i < Number(turns) || killCount() < Number(killsWanted); i++) await turn(id());
}

const daemonProgram = [join(import.meta.dirname, "../cni/serve-node.ts")];
// In between so many kills of others, one of the daemon; few, because until the next one is there
// everybody starts Node.
const killsPerDaemon = Math.max(50, Number(killsWanted) / 50);

async function startDaemon(): Promise<ChildProcess> {
  const daemon = spawn(process.execPath, daemonProgram, { stdio: ["pipe", "pipe", "inherit"] });
  await once(daemon.stdout, "data");
  daemon.stdout.resume();
  return daemon;
}

/** A daemon all the time, or nearly, until the signal. */
async function keepDaemon(first: ChildProcess, signal: AbortSignal): Promise<void> {
  let daemon = first;
  while (!signal.aborted) {
    await setTimeout(1 + random.below(20));
    if (!isKilling || killCount() < (kills.daemon + 1) * killsPerDaemon) continue;
    const ended = once(daemon, "exit");
    daemon.kill("SIGKILL");
    await ended;
    kills.daemon++;
    daemon = await startDaemon();
  }
  const ended = once(daemon, "exit");
  daemon.stdin!.end();
  await ended;
}

/** What is on disk is what was told, and nothing more; of those of whom nothing is known, anything. */
async function compare(): Promise<void> {
  const isKnown = (id: string): boolean => held.get(id) !== "unknown";
  const leases = await store.leases(network);
  if (new Set(leases.map(({ address }) => address)).size !== leases.length) {
    throw new Error(`seed ${seed}: an address is held twice`);
  }
  const found = leases
    .filter(({ containerId }) => isKnown(containerId))
    .map(({ address, containerId }) => `${address} ${containerId}`);
  const told = [...held].flatMap(([id, addresses]) =>
    addresses === "unknown" ? [] : addresses.map((one) => `${one} ${id}`),
  );
  if (found.sort().join() !== told.sort().join()) {
    throw new Error(`seed ${seed}: found ${found.join()}, told ${told.join()}`);
  }
}

/** Half of them by DEL, the rest by GC: then there is nothing. */
async function freeAll(): Promise<void> {
  const ids = [...new Set([...held.keys(), ...mustBeServed])];
  const byDel = ids.filter((id, index) => mustBeServed.has(id) || index % 2 === 0);
  await Promise.all(byDel.map(free));
  const { status, stdout } = await callPlugin({
    plugin: launcher,
    command: "GC",
    container: "",
    conf: { ...conf("fairlead-ipam"), cniVersion: "1.1.0", "cni.dev/valid-attachments": [] },
  });
  if (status !== 0) throw new Error(`seed ${seed}: GC failed: ${stdout}`);
  const left = readdirSync(join(paths.leases, network)).filter(
    (name) => !/^(lock|last_reserved_ip\.\d+)$/.test(name),
  );
  if (left.length > 0) throw new Error(`seed ${seed}: left are ${left.join(", ")}`);
}

const stop = new AbortController();
const daemon = keepDaemon(await startDaemon(), stop.signal);
await Promise.all(Array.from({ length: workers }, (_, worker) => work(worker)));
await compare();
await freeAll();
stop.abort();
await daemon;
process.stdout.write(JSON.stringify({ requests, kills, ...done } satisfies StormFigures));
