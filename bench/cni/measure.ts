// Run inside one lab node by bench/cni.bench.ts; writes one JSON object to the file it is given.
import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { type Contender, contenders, fairlead, floors } from "./contenders.ts";
import { type KernelWork, measureKernel } from "./kernel-floor.ts";
import { findDaemon, shareNiceness } from "./niceness.ts";
import { type Batch, type Timing, openRunner } from "./runner.ts";

export interface Series {
  readonly name: string;
  readonly add: readonly Timing[];
  readonly del: readonly Timing[];
  /** Attachments per second, one figure a round; only of batches. */
  readonly addRate: readonly number[];
  readonly delRate: readonly number[];
  /** Milliseconds that the daemon's threads worked meanwhile, for one ADD or DEL. */
  readonly daemonCpu: { readonly add: number; readonly del: number };
}

export interface Measured {
  readonly sequential: readonly Series[];
  readonly atOnce: readonly { readonly concurrency: number; readonly series: readonly Series[] }[];
  readonly status: readonly Timing[];
  readonly kernel: KernelWork;
  /** 100 DELs at once: milliseconds until they are answered, and until the interfaces are gone. */
  readonly removal: {
    readonly answered: readonly number[];
    readonly gone: readonly number[];
    /** An ADD while they are being removed, and one before. */
    readonly addMeanwhile: readonly Timing[];
    readonly addBefore: readonly Timing[];
  };
  /** Of 1,000 pods of a node, in order. */
  readonly filling: readonly Timing[];
}

const [directory = "", launcher = "", rounds = "50", parts = "all"] = process.argv.slice(2);
const runner = openRunner(directory);
let serial = 0;
const daemonPid = findDaemon();

/** What the kernel goes on with after a sandbox is removed would be charged to whoever is measured next. */
const settleMs = 2;
/** Few ADDs come in between: the interfaces are soon gone. */
const removalRounds = 5;

// Sandboxes are made and removed in one go each: `ip` as a process costs more than what is measured.
function withSandboxes<T>(count: number, use: (ids: readonly string[]) => T): T {
  const ids = Array.from({ length: count }, () => `bench-${++serial}`);
  const all = (verb: string): void => {
    const input = ids.map((id) => `netns ${verb} ${id}\n`).join("");
    execFileSync("ip", ["-batch", "-"], { input });
  };
  all("add");
  try {
    return use(ids);
  } finally {
    all("del");
    sleep(settleMs * count);
  }
}

const sleep = (ms: number): void =>
  void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);

/** Interleaved: the machine is as busy for one as for the other. */
function measureSeries(
  all: readonly Contender[],
  { rounds, concurrency }: { readonly rounds: number; readonly concurrency: number },
): Series[] {
  const series = all.map((contender) => ({
    contender,
    name: contender.name,
    add: [] as Timing[],
    del: [] as Timing[],
    addRate: [] as number[],
    delRate: [] as number[],
    daemonCpu: { add: 0, del: 0 },
  }));
  for (let round = 0; round < rounds; round++) {
    withSandboxes(concurrency * series.length, (all) => {
      for (const [
        place,
        { contender, add, del, addRate, delRate, daemonCpu },
      ] of series.entries()) {
        const ids = all.slice(place * concurrency, (place + 1) * concurrency);
        const before = daemonCpuMs();
        const added = runner.run(contender, "ADD", ids, concurrency);
        const between = daemonCpuMs();
        const deleted = runner.run(contender, "DEL", ids, concurrency);
        daemonCpu.add += (between - before) / (rounds * concurrency);
        daemonCpu.del += (daemonCpuMs() - between) / (rounds * concurrency);
        add.push(...added.timings);
        del.push(...deleted.timings);
        addRate.push(concurrency / (added.elapsed / 1000));
        delRate.push(concurrency / (deleted.elapsed / 1000));
        untilGone();
      }
    });
  }
  return series.map(({ contender, ...figures }) => ({ ...figures, name: contender.name }));
}

/** Of all its threads, from schedstat (Linux: Documentation/scheduler/sched-stats), in nanoseconds there. */
function daemonCpuMs(): number {
  const threads = `/proc/${daemonPid}/task`;
  const times = readdirSync(threads).map((id) =>
    Number(readFileSync(`${threads}/${id}/schedstat`, "utf8").split(" ")[0]),
  );
  return times.reduce((sum, time) => sum + time, 0) / 1e6;
}

const podInterfaces = (): number =>
  readdirSync("/sys/class/net").filter((name) => /^fl[0-9a-f]{12}$/.test(name)).length;

function untilGone(): void {
  while (podInterfaces() > 0) sleep(0.2);
}

function measureRemoval(): Measured["removal"] {
  const ours = fairlead(launcher);
  const figures = {
    answered: [] as number[],
    gone: [] as number[],
    addMeanwhile: [] as Timing[],
    addBefore: [] as Timing[],
  };
  for (let round = 0; round < removalRounds; round++) {
    withSandboxes(120, (all) => {
      const [ids, others] = [all.slice(0, 100), all.slice(100)];
      const remove = (removed: readonly string[], concurrency: number): Batch =>
        runner.run(ours, "DEL", removed, concurrency);
      for (const id of others) figures.addBefore.push(...runner.run(ours, "ADD", [id]).timings);
      remove(others, 10);
      untilGone();
      runner.run(ours, "ADD", ids, 10);
      const { startedAt, elapsed } = remove(ids, 100);
      untilGone();
      figures.gone.push(Number(process.hrtime.bigint()) / 1e6 - startedAt);
      figures.answered.push(elapsed);
      runner.run(ours, "ADD", ids, 10);
      // Answered means that their interfaces are being removed from now on.
      remove(ids, 100);
      for (const [added, id] of others.entries()) {
        if (podInterfaces() <= added) break;
        figures.addMeanwhile.push(...runner.run(ours, "ADD", [id]).timings);
      }
      remove(others, 10);
      untilGone();
    });
  }
  return figures;
}

function measureFilling(): Timing[] {
  // Ranges of its own: the node's are too few for a thousand.
  const ours = fairlead(launcher, {
    ipam: {
      type: "fairlead-ipam",
      ranges: [[{ subnet: "10.251.0.0/20" }]],
      dataDir: "/run/bench-leases",
    },
  });
  return withSandboxes(1000, (ids) => {
    const { timings } = runner.run(ours, "ADD", ids);
    runner.run(ours, "DEL", ids, 10);
    untilGone();
    return [...timings];
  });
}

async function serveFloor(): Promise<Disposable> {
  const path = join(directory, "floor.sock");
  rmSync(path, { force: true });
  const child = spawn(join(directory, "runner"), ["serve", path], { stdio: "ignore" });
  while (!existsSync(path)) await setTimeout(1);
  return { [Symbol.dispose]: () => void child.kill() };
}

mkdirSync("/run/bench-leases", { recursive: true });
using _floor = await serveFloor();
using _niceness = shareNiceness(daemonPid);
const everyone = [...floors(launcher, directory), ...contenders(launcher)];
const ours = fairlead(launcher);
// Warm: the daemon has compiled its code, as on a node that has been up for a minute.
measureSeries([ours], { rounds: 5, concurrency: 20 });
const isWhole = parts === "all";
const measured: Partial<Measured> = {
  sequential: measureSeries(isWhole ? everyone : everyone.slice(0, 3), {
    rounds: Number(rounds),
    concurrency: 1,
  }),
  ...(isWhole && {
    atOnce: [10, 50].map((concurrency) => ({
      concurrency,
      series: measureSeries(everyone, { rounds: concurrency === 10 ? 6 : 3, concurrency }),
    })),
    status: Array.from({ length: 50 }, () => runner.run(ours, "STATUS", ["status"]).timings[0]!),
    kernel: withSandboxes(60, measureKernel),
    removal: measureRemoval(),
    filling: measureFilling(),
  }),
};
writeFileSync(join(directory, "measured.json"), JSON.stringify(measured));
