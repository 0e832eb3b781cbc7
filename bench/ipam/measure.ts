// Run inside one lab node by bench/ipam.bench.ts; writes one JSON object to the file it is given.
import { execFileSync } from "node:child_process";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { parseCidr } from "../../core/address.ts";
import type { ReserveRequest } from "../../ipam/ipam.ts";
import { openIpam } from "../../ipam/store.ts";
import { systemClock } from "../../kernel/clock.ts";
import type { Contender } from "../cni/contenders.ts";
import { findDaemon, shareNiceness } from "../cni/niceness.ts";
import { openRunner, referenceDir } from "../cni/runner.ts";
import { fillLeases } from "./lease-files.ts";
import { type Scenario, concurrency, crowded, names, network, scenarios } from "./scenarios.ts";
import type { StoreCost } from "./store-cost.ts";

/** Milliseconds, one figure for each request. */
export interface Series {
  readonly name: string;
  readonly add: readonly number[];
  readonly del: readonly number[];
}

export interface AtOnce {
  readonly name: string;
  /** Addresses a second, one figure for each batch. */
  readonly addRate: readonly number[];
}

export interface Measured {
  readonly scenarios: readonly { readonly name: string; readonly series: readonly Series[] }[];
  readonly atOnce: readonly AtOnce[];
  readonly cost: StoreCost;
}

/** Somebody who gives addresses and takes them back; the milliseconds that each took. */
interface Allocator {
  readonly name: string;
  readonly dataDir: string;
  run(verb: "ADD" | "DEL", ids: readonly string[], atOnce: number): Promise<Batch>;
}

interface Batch {
  readonly walls: readonly number[];
  readonly elapsed: number;
}

const [directory = "", cniDir = ""] = process.argv.slice(2);
const runner = openRunner(directory);
// In memory, so that nobody waits for a disk.
const leases = "/run/bench-leases";

function processAllocator(
  name: string,
  { plugin, subnet, env }: { plugin: string; subnet: string; env?: Contender["env"] },
): Allocator {
  const dataDir = join(leases, name.replaceAll(/[^a-z]+/g, "-"));
  const ipam = { type: "host-local", dataDir, ranges: [[{ subnet }]] };
  const contender: Contender = {
    name,
    chain: [{ plugin, conf: { type: "bench", name: network, ipam } }],
    ...(env === undefined ? {} : { env }),
  };
  return {
    name,
    dataDir,
    run: async (verb, ids, atOnce) => {
      const { timings, elapsed } = runner.run(contender, verb, ids, atOnce);
      return { walls: timings.map(({ wall }) => wall), elapsed };
    },
  };
}

/** As `attach/` uses it: the store of a warm process. */
function storeAllocator(subnet: string): Allocator {
  const dataDir = join(leases, "in-process");
  const ipam = openIpam({ dataDir, clock: systemClock });
  const { signal } = new AbortController();
  const cidr = parseCidr(subnet);
  if (cidr === undefined) throw new Error(`Not a subnet: ${subnet}`);
  const ranges: ReserveRequest["ranges"] = [[{ subnet: cidr }]];
  const one = async (verb: "ADD" | "DEL", containerId: string): Promise<number> => {
    const key = { network, containerId, ifName: "eth0" };
    const startedAt = performance.now();
    if (verb === "ADD") await ipam.reserve({ key, ranges, requestedIps: [] }, signal);
    else await ipam.release(key, signal);
    return performance.now() - startedAt;
  };
  return {
    name: names.inProcess,
    dataDir,
    run: async (verb, ids, atOnce) => {
      const startedAt = performance.now();
      const walls: number[] = [];
      // Each begins by itself, as requests do that come from sockets.
      const begin = (id: string) => setImmediate().then(() => one(verb, id));
      if (atOnce > 1) walls.push(...(await Promise.all(ids.map(begin))));
      else for (const id of ids) walls.push(await one(verb, id));
      return { walls, elapsed: performance.now() - startedAt };
    },
  };
}

function allocatorsFor(scenario: Scenario): Allocator[] {
  const { subnet } = scenario;
  const own = join(cniDir, "fairlead-ipam");
  const allocators = [
    processAllocator(names.reference, { plugin: join(referenceDir, "host-local"), subnet }),
    storeAllocator(subnet),
    processAllocator(names.served, { plugin: own, subnet }),
    processAllocator(names.alone, {
      plugin: own,
      subnet,
      env: { FAIRLEAD_SOCKET: join(directory, "no.sock") },
    }),
  ];
  for (const { dataDir } of allocators) fillLeases(dataDir, scenario);
  return allocators;
}

const isWarm = (name: string): boolean => name === names.inProcess || name === names.served;

let serial = 0;
const newIds = (count: number): string[] =>
  Array.from({ length: count }, () => `bench-${++serial}`);

/** Interleaved: the machine is as busy for one as for the other. The level stays what it is. */
async function measureScenario(scenario: Scenario): Promise<Measured["scenarios"][number]> {
  const allocators = allocatorsFor(scenario);
  const series = allocators.map(({ name }) => ({ name, add: [] as number[], del: [] as number[] }));
  const pair = async (at: number): Promise<void> => {
    const [allocator, figures] = [allocators[at]!, series[at]!];
    const ids = newIds(1);
    figures.add.push(...(await allocator.run("ADD", ids, 1)).walls);
    figures.del.push(...(await allocator.run("DEL", ids, 1)).walls);
  };
  // What keeps its leases in memory reads them once, and compiles its code.
  for (const [at, { name }] of allocators.entries()) {
    for (let i = 0; i < (isWarm(name) ? 200 : 0); i++) await pair(at);
    series[at]!.add.length = 0;
    series[at]!.del.length = 0;
  }
  for (let round = 0; round < scenario.rounds; round++) {
    for (const [at, { name }] of allocators.entries()) {
      // Seconds each, among so many leases.
      if (name === names.alone && round > 0 && scenario.leases > 10_000) continue;
      for (let i = 0; i < (isWarm(name) ? 5 : 1); i++) await pair(at);
    }
  }
  return { name: scenario.name, series };
}

async function measureAtOnce(): Promise<AtOnce[]> {
  // Not that which starts Node each time: twenty of them keep one another from the lock.
  const allocators = allocatorsFor(crowded).filter(({ name }) => name !== names.alone);
  const figures = allocators.map(({ name }) => ({ name, addRate: [] as number[] }));
  for (let round = 0; round < 4; round++) {
    for (const [at, allocator] of allocators.entries()) {
      const ids = newIds(5 * concurrency);
      const { elapsed } = await allocator.run("ADD", ids, concurrency);
      await allocator.run("DEL", ids, concurrency);
      if (round > 0) figures[at]!.addRate.push(ids.length / (elapsed / 1000));
    }
  }
  return figures;
}

function measureCost(): StoreCost {
  const largest = scenarios.at(-1)!;
  const dataDir = join(leases, "cost");
  fillLeases(dataDir, largest);
  const program = join(import.meta.dirname, "store-cost.ts");
  const words = ["--expose-gc", program, dataDir, largest.subnet];
  return JSON.parse(execFileSync(process.execPath, words, { encoding: "utf8" })) as StoreCost;
}

using _niceness = shareNiceness(findDaemon());
const measured: Measured["scenarios"][number][] = [];
for (const scenario of scenarios) measured.push(await measureScenario(scenario));
const result: Measured = {
  scenarios: measured,
  atOnce: await measureAtOnce(),
  cost: measureCost(),
};
writeFileSync(join(directory, "measured.json"), JSON.stringify(result));
rmSync(leases, { recursive: true });
