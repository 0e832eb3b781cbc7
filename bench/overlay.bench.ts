// The overlay's state at 1,000 and 5,000 nodes beside `ip -batch` and `bridge -batch`, in turn: first
// programming, one change, healing, reading, memory and work at rest.
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { formatTable } from "../cli/table.ts";
import { createNamespace, type TestNamespace } from "../test/support/netns.ts";
import { measureBatch } from "./overlay/batch.ts";
import { clusterOf, manifestOf, writeCluster } from "./overlay/cluster.ts";
import { measureDaemon, type WholeDaemon } from "./overlay/daemon.ts";
import type { Phases, Work } from "./overlay/node.ts";

interface Scale extends Omit<Phases, "first"> {
  readonly nodes: number;
  readonly programming: readonly Phases["first"][];
  readonly batch: readonly Work[];
  /** With routes of the same metric, as flannel and others write them. */
  readonly batchOfOneMetric: readonly Work[];
  /** All nodes in one file, each with the annotations that Kubernetes nodes carry: some 7 MB of 5,000. */
  readonly oneFile: Phases["read"];
  readonly daemon: WholeDaemon;
}

const root = join(import.meta.dirname, "..");
const rounds = 5;
const program = join(root, "bench/overlay/node.ts");
/** As the daemon's start script has them (scripts/build.ts). */
const engineOptions = ["--expose-gc", "--max-semi-space-size=2"];

const percentile = (values: readonly number[], share: number): number =>
  values.toSorted((a, b) => a - b)[Math.ceil((values.length - 1) * share)] ?? Number.NaN;
const median = (values: readonly number[]): number => percentile(values, 0.5);
const wall = (work: readonly Work[]): number => median(work.map(({ elapsed }) => elapsed));
const text = (value: number): string => value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0);

const directory = mkdtempSync(join(tmpdir(), "fairlead-bench-"));
try {
  const alone = await measureDaemon(1);
  const scales: Scale[] = [];
  for (const nodes of [1000, 5000]) scales.push(await measureScale(nodes));
  const goals = scales.flatMap(goalsOf);
  report(scales, alone, goals);
  mkdirSync(join(root, "bench/results"), { recursive: true });
  writeFileSync(
    join(root, "bench/results/overlay.json"),
    `${JSON.stringify({ rounds, goals, alone, scales })}\n`,
  );
} finally {
  rmSync(directory, { recursive: true, force: true });
}

async function measureScale(nodes: number): Promise<Scale> {
  const [programming, batch, batchOfOneMetric]: [Phases["first"][], Work[], Work[]] = [[], [], []];
  for (let round = 0; round < rounds; round++) {
    programming.push(inNamespace((namespace) => phase("first", namespace.path, nodes)));
    for (const [into, withMetrics] of [
      [batch, true],
      [batchOfOneMetric, false],
    ] as const) {
      const options = { nodes, directory, withMetrics };
      into.push(inNamespace((namespace) => measureBatch(namespace, options)));
    }
  }
  const steady = inNamespace((namespace) => phase("steady", namespace.path, nodes));
  const [files, file] = [join(directory, `files-${nodes}`), join(directory, `file-${nodes}`)];
  writeCluster(files, nodes);
  mkdirSync(file);
  writeFileSync(join(file, "nodes.yaml"), clusterOf(nodes).map(realistic).join("---\n"));
  const read = phase("read", files, nodes);
  const oneFile = phase("read", file, nodes);
  const daemon = await measureDaemon(nodes);
  return { nodes, steady, read, programming, batch, batchOfOneMetric, oneFile, daemon };
}

function phase<P extends keyof Phases>(name: P, where: string, nodes: number): Phases[P] {
  const output = execFileSync(
    process.execPath,
    [...engineOptions, program, name, where, String(nodes)],
    {
      stdio: ["ignore", "pipe", "inherit"],
      encoding: "utf8",
    },
  );
  return JSON.parse(output) as Phases[P];
}

/** With the underlay of node-a. */
function inNamespace<T>(use: (namespace: TestNamespace) => T): T {
  using namespace = createNamespace();
  const ip = (...args: readonly string[]): string => namespace.run("ip", ...args);
  ip("link", "add", "eth0", "type", "veth", "peer", "name", "far");
  for (const end of ["far", "eth0"]) ip("link", "set", end, "up");
  ip("address", "add", "172.30.1.11/24", "dev", "eth0");
  return use(namespace);
}

function realistic(node: ReturnType<typeof clusterOf>[number]): string {
  const annotations = Array.from(
    { length: 12 },
    (_, i) =>
      `    example.org/annotation-number-${i}: "${`${node.name} has something to say; `.repeat(3)}"\n`,
  );
  return manifestOf(node).replace("spec:\n", `  annotations:\n${annotations.join("")}spec:\n`);
}

interface Goal {
  readonly what: string;
  readonly limit: number;
  readonly value: number;
}

/** What the project holds itself to, each as a figure that may not be exceeded. */
function goalsOf(scale: Scale): readonly Goal[] {
  const { nodes, programming, batch, steady, daemon, read, oneFile } = scale;
  const of = (what: string): string => `${nodes} nodes: ${what}`;
  return [
    {
      what: of("snapshot to kernel, of ip -batch and bridge -batch"),
      limit: 0.3,
      value: wall(programming) / wall(batch),
    },
    {
      what: of("the same, of batches whose routes have one metric"),
      limit: 0.3,
      value: wall(programming) / wall(scale.batchOfOneMetric),
    },
    {
      what: of("longest block meanwhile, ms"),
      limit: 50,
      value: median(programming.map(({ longestBlock }) => longestBlock)),
    },
    { what: of("one node's change, p99, ms"), limit: 10, value: percentile(steady.change, 0.99) },
    { what: of("healing, p99, ms"), limit: 100, value: percentile(steady.heal, 0.99) },
    { what: of("steady memory, MiB"), limit: 120, value: daemon.steady },
    {
      what: of("CPU at rest, ms a minute more than alone"),
      limit: 30,
      value: daemon.cpuPerMinute - daemon.cpuAlonePerMinute,
    },
    { what: of("longest block while files are read, ms"), limit: 50, value: read.longestBlock },
    { what: of("the same in one file"), limit: 50, value: oneFile.longestBlock },
  ];
}

function report(scales: readonly Scale[], alone: WholeDaemon, goals: readonly Goal[]): void {
  const row = (what: string, of: (scale: Scale) => string): readonly string[] => [
    what,
    ...scales.map(of),
  ];
  const both = (values: readonly number[]): string =>
    `${text(median(values))}  (p99 ${text(percentile(values, 0.99))})`;
  const worked = (work: readonly Work[]): string =>
    `${text(wall(work))}  (CPU ${text(median(work.map(({ cpu }) => cpu)))})`;
  console.log(
    formatTable([
      ["MS", ...scales.map(({ nodes }) => `${nodes} NODES`)],
      row("snapshot to kernel, a new process", ({ programming }) => worked(programming)),
      row("longest block meanwhile", ({ programming }) =>
        text(median(programming.map(({ longestBlock }) => longestBlock))),
      ),
      row("ip -batch and bridge -batch", ({ batch }) => worked(batch)),
      row("the same with one metric", ({ batchOfOneMetric }) => worked(batchOfOneMetric)),
      row("one node's change to kernel", ({ steady }) => both(steady.change)),
      row("one object removed, until it is back", ({ steady }) => both(steady.heal)),
      row("every route removed, until all are back", ({ steady }) => both(steady.storm)),
      row("a comparison that finds nothing", ({ steady }) => both(steady.compare)),
      row("a file each, to snapshot", ({ read }) => text(read.elapsed)),
      row("longest block meanwhile", ({ read }) => text(read.longestBlock)),
      row("one file, to snapshot", ({ oneFile }) => text(oneFile.elapsed)),
      row("longest block meanwhile", ({ oneFile }) => text(oneFile.longestBlock)),
      row("daemon: start to ready", ({ daemon }) => text(daemon.ready)),
      row("rename(2) of a manifest to kernel", ({ daemon }) => both(daemon.rename)),
      row("peak memory, MiB", ({ daemon }) => text(daemon.peak)),
      row("steady memory, MiB", ({ daemon }) => text(daemon.steady)),
      row("CPU at rest, a minute", ({ daemon }) => text(daemon.cpuPerMinute)),
      row("a daemon alone in the same minute", ({ daemon }) => text(daemon.cpuAlonePerMinute)),
    ]),
  );
  console.log(`alone: ${text(alone.steady)} MiB; ${rounds} rounds, each contender in turn\n`);
  console.log(
    formatTable([
      ["GOAL", "AT MOST", "MEASURED", ""],
      ...goals.map(({ what, limit, value }) => [
        what,
        text(limit),
        text(value),
        value <= limit ? "reached" : "missed",
      ]),
    ]),
  );
}
