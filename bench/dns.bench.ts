// The resolver beside unbound, dnsmasq and knot, and above a C program that only echoes: each in turn, on
// one processor, asked by dnsperf from the other, in a network namespace. FAIRLEAD_BENCH_SECONDS: of one run.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { formatTable } from "../cli/table.ts";
import { type Goal, formatGoals } from "./goals.ts";
import { createNamespace } from "../test/support/netns.ts";
import { type Load, loads, queriesOf, searchingAddress, servicesOf } from "./dns/cluster.ts";
import {
  answers,
  compileEcho,
  type Contender,
  type Name,
  names,
  present,
  type Setting,
  start,
} from "./dns/contenders.ts";
import {
  ask,
  type Latency,
  measureLatency,
  measureThroughput,
  type Throughput,
} from "./dns/measure.ts";

interface Series {
  readonly name: Name;
  readonly load: Load;
  readonly services: number;
  readonly runs: readonly Throughput[];
}

interface Latencies {
  readonly name: Name | typeof busy;
  readonly runs: readonly Latency[];
}

/** With another thread at work on its processor, for 20 ms of each 200. */
const busy = "fairlead, busy";

interface Measured {
  readonly series: readonly Series[];
  readonly latency: readonly Latencies[];
  /** Octets resident, by number of services. */
  readonly memory: readonly { readonly name: Name; readonly resident: readonly number[] }[];
  /** Of the process with the resolver, what it did not have before. Octets. */
  readonly part: number;
  /** Milliseconds from publish() to the first answer that has it. */
  readonly changes: readonly { readonly publishMs: number; readonly visibleMs: number }[];
}

const root = join(import.meta.dirname, "..");
const seconds = Number(process.env["FAIRLEAD_BENCH_SECONDS"] ?? 2);
const rounds = Number(process.env["FAIRLEAD_BENCH_ROUNDS"] ?? 3);
const scales = [10, 1000, 10_000];
const upstreamPort = 5300;

const percentile = (values: readonly number[], share: number): number =>
  values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) * share)] ?? Number.NaN;
const median = (values: readonly number[]): number => percentile(values, 0.5);
const text = (value: number): string =>
  Number.isNaN(value) ? "" : value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0);

async function measure(): Promise<Measured> {
  const directory = mkdtempSync(join(tmpdir(), "fairlead-bench-"));
  const series: Series[] = [];
  const resident = new Map<Name, number[]>();
  let [latency, part, changes]: [Measured["latency"], number, Measured["changes"]] = [[], 0, []];
  try {
    compileEcho(directory);
    for (const scale of scales) {
      using namespace = createNamespace();
      const services = servicesOf(scale);
      const setting: Setting = { directory, namespace, services, upstreamPort };
      await using stack = new AsyncDisposableStack();
      stack.use(await start(names.knot, upstreamPort, setting));
      const servers: Contender[] = [];
      for (const [i, name] of present().entries()) {
        servers.push(stack.use(await start(name, upstreamPort + 1 + i, setting)));
      }
      const isLargest = scale === scales.at(-1);
      for (const load of isLargest ? loads : (["hit"] as const)) {
        series.push(...measureLoad(servers, setting, load));
      }
      for (const server of servers) {
        resident.set(server.name, [...(resident.get(server.name) ?? []), server.resident()]);
      }
      if (!isLargest) continue;
      latency = measureAllLatency(servers, setting);
      const ours = servers.find(({ name }) => name === names.ours)!;
      await ours.ask("busy");
      latency = [...latency, { ...measureAllLatency([ours], setting)[0]!, name: busy }];
      await ours.ask("idle");
      ({ part } = (await ours.ask("memory")) as { part: number });
      for (let i = 0; i < 20; i++) {
        changes = [...changes, (await ours.ask("change")) as Measured["changes"][number]];
      }
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
  const memory = [...resident].map(([name, octets]) => ({ name, resident: octets }));
  return { series, latency, memory, part, changes };
}

function queriesFile({ directory, services }: Setting, load: Load): string {
  const file = join(directory, `${load}-${services.length}.queries`);
  writeFileSync(file, `${queriesOf(load, services, 100_000).join("\n")}\n`);
  return file;
}

function measureLoad(servers: readonly Contender[], setting: Setting, load: Load): Series[] {
  const queries = queriesFile(setting, load);
  const able = servers.filter(({ name }) => answers(name, load));
  const runs = new Map<Contender, Throughput[]>(able.map((server) => [server, []]));
  // Each has seen it all, and twice, before it counts.
  const all = join(setting.directory, "all.queries");
  const distinct = [...new Set(queriesOf(load, setting.services, 100_000))].slice(0, 20_000);
  writeFileSync(all, `${[...distinct, ...distinct].join("\n")}\n`);
  const from = load === "search" ? searchingAddress : undefined;
  for (const server of able) ask(server, setting, { queries: all, from });
  for (let round = 0; round < rounds; round++) {
    for (const [server, list] of runs) {
      list.push(measureThroughput(server, setting, { queries, seconds, from }));
    }
  }
  const services = setting.services.length;
  return [...runs].map(([{ name }, list]) => ({ name, load, services, runs: list }));
}

function measureAllLatency(servers: readonly Contender[], setting: Setting): Measured["latency"] {
  const queries = queriesFile(setting, "hit");
  const runs = new Map<Contender, Latency[]>(servers.map((server) => [server, []]));
  for (let round = 0; round < rounds; round++) {
    for (const [server, list] of runs) {
      list.push(measureLatency(server, setting, { queries, seconds }));
    }
  }
  return [...runs].map(([{ name }, list]) => ({ name, runs: list }));
}

function find(all: Measured, name: Name, load: Load, services: number): Series | undefined {
  return all.series.find(
    (one) => one.name === name && one.load === load && one.services === services,
  );
}

const cpuOf = (series: Series | undefined): number =>
  median((series?.runs ?? []).map(({ cpu }) => cpu));
/** What one processor answers in a second, by its time for one query. */
const perCore = (series: Series | undefined): number => 1e6 / cpuOf(series);

function report(all: Measured): void {
  for (const { load, services } of uniqueLoads(all)) {
    const floor = perCore(find(all, names.echo, load, services));
    console.log(
      formatTable([
        [
          `${load.toUpperCase()}, ${services} SERVICES`,
          "/S",
          "CPU µS",
          "/S OF CPU",
          "OF ECHO",
          "LOST",
        ],
        ...all.series
          .filter((one) => one.load === load && one.services === services)
          .map((one) => [
            one.name,
            text(median(one.runs.map(({ perSecond }) => perSecond))),
            text(cpuOf(one)),
            text(perCore(one)),
            text(perCore(one) / floor),
            text(one.runs.reduce((sum, { lost }) => sum + lost, 0)),
          ]),
      ]),
    );
  }
  console.log(
    formatTable([
      [
        "10,000 A SECOND",
        "P50 µS",
        "P99 µS",
        "LOST",
        ...scales.map((n) => `MB AT ${n}`),
        "OCTETS A SERVICE",
      ],
      ...all.latency.map(({ name, runs }) => [
        name,
        text(median(runs.map(({ p50 }) => p50))),
        text(median(runs.map(({ p99 }) => p99))),
        text(runs.reduce((sum, { lost }) => sum + lost, 0)),
        ...memoryColumns(all, name),
      ]),
    ]),
  );
  const visible = all.changes.map(({ visibleMs }) => visibleMs);
  console.log(
    `One of ${scales.at(-1)} services changed: visible after ${text(median(visible))} ms, ` +
      `${text(Math.max(...visible))} ms at most; the caller of publish() is held for ` +
      `${text(median(all.changes.map(({ publishMs }) => publishMs)))} ms. ` +
      `The resolver's part of memory: ${text(all.part / 1e6)} MB.`,
  );
  console.log(formatGoals(goalsOf(all), text));
}

function uniqueLoads({ series }: Measured): readonly { load: Load; services: number }[] {
  return series.filter(
    ({ load, services }, i) =>
      series.findIndex((other) => other.load === load && other.services === services) === i,
  );
}

function memoryColumns({ memory }: Measured, wanted: Latencies["name"]): string[] {
  if (wanted === busy) return [];
  const octets = memory.find(({ name }) => name === wanted)?.resident ?? [];
  const [first = Number.NaN] = octets;
  const last = octets.at(-1) ?? Number.NaN;
  const services = (scales.at(-1) ?? 0) - (scales[0] ?? 0);
  return [...octets.map((one) => text(one / 1e6)), text((last - first) / services)];
}

/** What the project holds itself to. Rates by the processor's time for a query. */
function goalsOf(all: Measured): Goal[] {
  const largest = scales.at(-1) ?? 0;
  const of = (name: Name, load: Load = "hit", services = largest): number =>
    perCore(find(all, name, load, services));
  const p = (name: Latencies["name"], share: "p50" | "p99"): number =>
    median((all.latency.find((one) => one.name === name)?.runs ?? []).map((run) => run[share]));
  const lost = all.latency.find(({ name }) => name === names.ours)?.runs ?? [];
  return [
    { what: "of knot's rate", least: 1.15, value: of(names.ours) / of(names.knot) },
    { what: "of unbound's rate", least: 1.4, value: of(names.ours) / of(names.unbound) },
    { what: "of the C echo's rate", least: 0.85, value: of(names.ours) / of(names.echo) },
    ...coreDnsGoal(of(names.plain) / of(names.coredns)),
    {
      what: "outside names, of unbound's rate",
      least: 1.4,
      value: of(names.ours, "outside") / of(names.unbound, "outside"),
    },
    ...(["nodata", "nxdomain", "walk", "search"] as const).map((load) => ({
      what: `${load}, of a hit's rate`,
      least: 0.9,
      value: of(names.ours, load) / of(names.ours),
    })),
    {
      what: `${largest} services, of the rate with ${scales[0]}`,
      least: 0.85,
      value: of(names.ours) / of(names.ours, "hit", scales[0]),
    },
    {
      what: "p50, µs over the C echo's",
      most: 10,
      value: p(names.ours, "p50") - p(names.echo, "p50"),
    },
    { what: "p99, µs", most: 300, value: p(names.ours, "p99") },
    { what: "p99 beside a busy thread, µs", most: 300, value: p(busy, "p99") },
    {
      what: "lost at 10,000 a second",
      most: 0,
      value: lost.reduce((sum, run) => sum + run.lost, 0),
    },
    {
      what: "a changed service is visible after, ms",
      most: 5,
      value: median(all.changes.map(({ visibleMs }) => visibleMs)),
    },
    { what: `memory of the resolver's part, MB`, most: 40, value: all.part / 1e6 },
  ];
}

/** None where there is no CoreDNS. */
const coreDnsGoal = (value: number): Goal[] =>
  Number.isNaN(value) ? [] : [{ what: "plain, of CoreDNS's rate", least: 2.5, value }];

const measured = await measure();
mkdirSync(join(root, "bench/results"), { recursive: true });
writeFileSync(
  join(root, "bench/results/dns.json"),
  `${JSON.stringify({ rounds, seconds, goals: goalsOf(measured), measured })}\n`,
);
report(measured);
