// Nodes as processes that share a file store, claim and give back all at once, and are killed (SIGKILL).
// What a process last said that it holds must be its own in the store; nobody else may have said so.
// At the end all nodes are released, and nothing may be left.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import type { Pool } from "../../../ipam/claims/agent.ts";
import { standardDemand } from "../../../ipam/claims/demand.ts";
import { openFileStore } from "../../../ipam/claims/file-store.ts";
import { blocksPrefix, blockOfKey, readBlock } from "../../../ipam/claims/records.ts";
import { observeNode, releaseNode, sweepOrphans } from "../../../ipam/claims/release.ts";
import { runSteps } from "../../../ipam/claims/step.ts";
import type { Random } from "../../../core/clock.ts";
import { systemClock } from "../../../kernel/clock.ts";
import { cidr } from "../../support/builders.ts";
import { seededRandom } from "../../support/random.ts";

/** Room for two blocks of each of twenty nodes, and little more: they meet. */
export const workerPool: Pool = {
  name: "default",
  plan: { clusterCidrs: [cidr("10.1.0.0/22")], nodePrefixLength: { ipv4: 28, ipv6: 64 } },
};
export const workerPolicy = {
  ...standardDemand,
  mostBlocks: 2,
  claimAtFree: 0,
  returnAtFree: 1,
  idleMs: 0,
  leavingMs: 0,
};

export interface ClaimSoakOptions {
  readonly directory: string;
  readonly processes: number;
  readonly rounds: number;
  readonly seed: number;
}

export interface ClaimSoakFigures {
  readonly kills: number;
  /** Rounds of processes that came to their end before the kill. */
  readonly answers: number;
  /** Kills within a round. */
  readonly interrupted: number;
}

/** Throws naming the seed and the round in which a block was held twice, lost or left. */
export async function soakClaims(options: ClaimSoakOptions): Promise<ClaimSoakFigures> {
  const { directory, processes, rounds, seed } = options;
  const random = seededRandom(seed);
  const nodes = Array.from({ length: processes }, (_, i) => `n${i}`);
  const figures = { kills: 0, answers: 0, interrupted: 0 };
  for (let round = 0; round < rounds; round++) {
    const reports = await runAndKill(directory, nodes, random);
    const owners = await ownersIn(directory);
    const when = `seed ${seed}, round ${round}`;
    const holders = new Map<string, string>();
    for (const [node, { held, isBusy, answers }] of reports) {
      figures.kills++;
      figures.answers += answers;
      if (isBusy) figures.interrupted++;
      // Whoever was busy may have given back what it said before.
      for (const block of isBusy ? [] : held) {
        const other = holders.get(block);
        if (other !== undefined)
          throw new Error(`${when}: ${block} is held by ${other} and ${node}`);
        holders.set(block, node);
        if (owners.get(block) !== node) {
          throw new Error(`${when}: ${node} holds ${block}, which is ${owners.get(block)}'s`);
        }
      }
    }
  }
  await releaseAll(directory, nodes, random);
  return figures;
}

/** Against hanging alone. */
const roundDeadlineMs = 60_000;

interface Report {
  readonly held: readonly string[];
  readonly isBusy: boolean;
  readonly answers: number;
}

async function runAndKill(
  directory: string,
  nodes: readonly string[],
  random: Random,
): Promise<ReadonlyMap<string, Report>> {
  const worker = join(import.meta.dirname, "claim-worker.ts");
  const running = nodes.map((node) => {
    const seed = String(random.below(2 ** 31));
    const child = spawn(process.execPath, [worker, directory, node, seed], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    const run = { node, child, said: "", complaint: "", killAfter: random.below(4) };
    child.stdout.on("data", (chunk: Buffer) => (run.said += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (run.complaint += chunk.toString()));
    return { run, closed: once(child, "close"), started: once(child.stdout, "data") };
  });
  await Promise.race([
    Promise.all(running.map(({ started }) => started)),
    ...running.map(({ closed }) => closed),
  ]);
  const giveUpAtMs = performance.now() + roundDeadlineMs;
  const ended = running.map(async ({ run, closed }): Promise<[string, Report]> => {
    // By what it has done, not by time: on a machine that is busy the kill would come before the first claim.
    while (readReport(run.said).answers < run.killAfter && performance.now() < giveUpAtMs) {
      await setTimeout(1);
    }
    await setTimeout(random.below(20));
    run.child.kill("SIGKILL");
    await closed;
    if (run.child.signalCode !== "SIGKILL") {
      throw new Error(`${run.node} ended by itself: ${run.complaint}`);
    }
    return [run.node, readReport(run.said)];
  });
  return new Map(await Promise.all(ended));
}

function readReport(said: string): Report {
  // The last line may be torn by the kill: without its newline it was not said.
  const lines = said.split("\n").slice(0, -1);
  const answers = lines.filter((line) => line.startsWith("holds"));
  const held = (answers.at(-1) ?? "").split(" ").slice(1);
  return { held, isBusy: lines.at(-1) === "begins", answers: answers.length };
}

async function ownersIn(directory: string): Promise<ReadonlyMap<string, string>> {
  const store = openFileStore({ directory, clock: systemClock });
  const entries = await store.list(blocksPrefix, new AbortController().signal);
  return new Map(
    entries.map((entry) => [
      blockOfKey(entry.key) ?? entry.key,
      readBlock(entry)?.node ?? "nobody",
    ]),
  );
}

async function releaseAll(
  directory: string,
  nodes: readonly string[],
  random: Random,
): Promise<void> {
  const store = openFileStore({ directory, clock: systemClock });
  const { signal } = new AbortController();
  for (const node of nodes) {
    const seen = await runSteps(observeNode(node, 0), store, signal);
    if (seen === undefined) continue;
    const lease = { leaseMs: 10, nowMs: 10, random };
    const { kind } = await runSteps(releaseNode(seen, lease), store, signal);
    if (kind !== "released") throw new Error(`${node} is dead, and its release gives ${kind}`);
  }
  await runSteps(sweepOrphans(random), store, signal);
  const left = readdirSync(directory).filter(
    (name) => !["division", ".lock", ".new"].includes(name),
  );
  if (left.length > 0) throw new Error(`Left after every node was released: ${left.join(", ")}`);
}
