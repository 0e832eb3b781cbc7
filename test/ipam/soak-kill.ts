// Processes that are killed (SIGKILL) while they reserve and release in one directory. After each kill
// every attachment must hold what the process last said of it; the one it was busy with, what it held
// before or after. At the end everything is released, and nothing may be left.
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import type { Random } from "../../core/clock.ts";
import type { Ipam } from "../../ipam/ipam.ts";
import { seededRandom } from "../support/random.ts";
import { type DataDir, createDataDir, key, never, ranges } from "./lease-directory.ts";

export const workerContainers = 40;
/** Two addresses per attachment, and room for two workers' attachments. */
export const workerRanges = ranges("10.1.2.0/24", "fd00::/120");

export interface SoakOptions {
  /** How many processes are killed. */
  readonly count: number;
  readonly seed: number;
}

export interface SoakFigures {
  readonly kills: number;
  /** Requests that were answered before their process was killed. */
  readonly requests: number;
  /** Kills that hit a request that was under way. */
  readonly interrupted: number;
}

/** Throws naming the seed and the kill at which something was lost. */
export async function soakKills({ count, seed }: SoakOptions): Promise<SoakFigures> {
  using data = createDataDir();
  const random = seededRandom(seed);
  const held = new Map<string, readonly string[]>();
  const figures = { kills: 0, requests: 0, interrupted: 0 };
  while (figures.kills < count) {
    // Two at a time, so that they also meet at the lock.
    const reports = await Promise.all(["a", "b"].map((prefix) => runAndKill(data, prefix, random)));
    figures.kills += reports.length;
    for (const report of reports) {
      figures.requests += report.requests;
      if (report.busyWith !== undefined) figures.interrupted++;
      for (const [id, addresses] of report.held) held.set(id, addresses);
    }
    const busy = new Set(reports.flatMap(({ busyWith }) => busyWith ?? []));
    await compare(data.open(), held, busy, `seed ${seed}, kill ${figures.kills}`);
  }
  await releaseAll(data, held);
  return figures;
}

interface Report {
  readonly held: ReadonlyMap<string, readonly string[]>;
  readonly requests: number;
  readonly busyWith: string | undefined;
}

async function runAndKill({ path }: DataDir, prefix: string, random: Random): Promise<Report> {
  const worker = join(import.meta.dirname, "kill-worker.ts");
  const seed = String(random.below(2 ** 31));
  const child = spawn(process.execPath, [worker, path, prefix, seed], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const delayMs = random.below(60);
  let said = "";
  let complaint = "";
  child.stderr.on("data", (chunk: Buffer) => (complaint += chunk.toString()));
  const started = new Promise<void>((resolve) => {
    child.stdout.on("data", (chunk: Buffer) => {
      said += chunk.toString();
      resolve();
    });
  });
  const ended = end(child);
  await Promise.race([started, ended]);
  await setTimeout(delayMs);
  child.kill("SIGKILL");
  const signal = await ended;
  if (signal !== "SIGKILL") throw new Error(`The worker ended by itself: ${complaint}`);
  return readReport(said);
}

const end = (child: ChildProcess): Promise<string | null> =>
  new Promise((resolve) => child.once("close", (_status, signal) => resolve(signal)));

function readReport(said: string): Report {
  const held = new Map<string, readonly string[]>();
  let busyWith: string | undefined;
  let requests = 0;
  // The last line may be torn by the kill: without its newline it was not said.
  for (const line of said.split("\n").slice(0, -1)) {
    const [word, id = "", ...addresses] = line.split(" ");
    busyWith = word === "begin" ? id : undefined;
    if (word !== "holds") continue;
    held.set(id, addresses);
    requests++;
  }
  return { held, requests, busyWith };
}

/** What is on disk is what was said; for the busy ones it becomes what is known from here on. */
async function compare(
  ipam: Ipam,
  held: Map<string, readonly string[]>,
  busy: ReadonlySet<string>,
  when: string,
): Promise<void> {
  const found = new Map<string, string[]>();
  for (const { address, containerId } of await ipam.leases("mynet")) {
    found.set(containerId, [...(found.get(containerId) ?? []), address]);
  }
  for (const id of new Set([...held.keys(), ...found.keys()])) {
    const now = found.get(id) ?? [];
    const told = held.get(id) ?? [];
    if (busy.has(id)) held.set(id, now);
    else if (now.join() !== told.join()) {
      throw new Error(`${when}: ${id} holds "${now.join()}", and was told "${told.join()}"`);
    }
  }
  const all = [...found.values()].flat();
  if (new Set(all).size !== all.length) throw new Error(`${when}: an address is held twice`);
}

async function releaseAll(data: DataDir, held: ReadonlyMap<string, unknown>): Promise<void> {
  const ipam = data.open();
  for (const id of held.keys()) await ipam.release(key(id), never);
  const left = Object.keys(data.files()).filter((name) => !name.startsWith("last_reserved_ip."));
  if (left.length > 0) throw new Error(`Left after everything was released: ${left.join(", ")}`);
}
