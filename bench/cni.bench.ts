// ADD, DEL and STATUS beside Debian's reference plugins, interleaved in one run, in one lab node.
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { formatTable } from "../cli/table.ts";
import { chainName, referenceName } from "./cni/contenders.ts";
import type { Measured, Series } from "./cni/measure.ts";
import { type Timing, compileRunner } from "./cni/runner.ts";

const root = join(import.meta.dirname, "..");
const rounds = 60;
const clusterSize = 5_000;

const percentile = (values: readonly number[], share: number): number =>
  values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) * share)] ?? Number.NaN;
const median = (values: readonly number[]): number => percentile(values, 0.5);
const walls = (timings: readonly Timing[]): number[] => timings.map(({ wall }) => wall);
const wall = (timings: readonly Timing[], share = 0.5): number => percentile(walls(timings), share);
const cpu = (timings: readonly Timing[]): number => median(timings.map((timing) => timing.cpu));
const text = (value: number): string => value.toFixed(value < 100 ? 2 : 0);

const { measured, amongMany } = measure();
report(measured);
mkdirSync(join(root, "bench/results"), { recursive: true });
writeFileSync(
  join(root, "bench/results/cni.json"),
  `${JSON.stringify({ rounds, goals: goalsOf(measured), measured, amongMany })}\n`,
);

function report({ sequential, atOnce }: Measured): void {
  const reference = byName(sequential, referenceName);
  console.log(
    formatTable([
      [
        "ONE AT A TIME, MS",
        "ADD P50",
        "P90",
        "P99",
        "CPU",
        "RATIO",
        "DEL P50",
        "P90",
        "P99",
        "CPU",
        "RATIO",
      ],
      ...sequential.map(({ name, add, del, daemonCpu }) => [
        name,
        ...[wall(add), wall(add, 0.9), wall(add, 0.99), cpu(add) + daemonCpu.add].map(text),
        text(wall(add) / wall(reference.add)),
        ...[wall(del), wall(del, 0.9), wall(del, 0.99), cpu(del) + daemonCpu.del].map(text),
        text(wall(del) / wall(reference.del)),
      ]),
    ]),
  );
  for (const { concurrency, series } of atOnce) {
    const base = byName(series, referenceName);
    console.log(
      formatTable([
        [`${concurrency} AT ONCE`, "ADD/S", "RATIO", "P50 MS", "P99", "DEL/S", "RATIO"],
        ...series.map(({ name, add, addRate, delRate }) => [
          name,
          text(median(addRate)),
          text(median(addRate) / median(base.addRate)),
          text(wall(add)),
          text(wall(add, 0.99)),
          text(median(delRate)),
          text(median(delRate) / median(base.delRate)),
        ]),
      ]),
    );
  }
  console.log(
    formatTable([
      ["GOAL", "AT MOST", "MEASURED", ""],
      ...goalsOf(measured).map(({ what, limit, value }) => [
        what,
        text(limit),
        text(value),
        value <= limit ? "reached" : "missed",
      ]),
    ]),
  );
  console.log(
    `${rounds} rounds, each contender in turn; ratio: to ${referenceName}; CPU: of the plugin's processes and the daemon`,
  );
}

function byName(series: readonly Series[], name: string): Series {
  const found = series.find((one) => one.name === name);
  if (found === undefined) throw new Error(`Nothing was measured of "${name}"`);
  return found;
}

/** What the project holds itself to, each as a figure that may not be exceeded. */
function goalsOf({ sequential, atOnce, kernel, removal, status, filling }: Measured) {
  const ours = byName(sequential, "fairlead");
  const full = byName(sequential, "fairlead, with hostPort and bandwidth");
  const bridge = byName(sequential, referenceName);
  const chain = byName(sequential, chainName);
  const launcher = byName(sequential, "the launcher alone");
  const kernelAdd = median(kernel.add);
  const last = atOnce.at(-1)?.series ?? [];
  const rateOf = (name: string): number => median(byName(last, name).addRate);
  return [
    { what: `ADD of ${referenceName}'s`, limit: 0.2, value: wall(ours.add) / wall(bridge.add) },
    { what: "ADD of the whole chain's", limit: 0.08, value: wall(full.add) / wall(chain.add) },
    {
      what: `ADD, ms: twice the kernel's ${text(kernelAdd)} and the launcher's ${text(wall(launcher.add))}`,
      limit: 2 * kernelAdd + wall(launcher.add),
      value: wall(ours.add),
    },
    { what: `DEL of ${referenceName}'s`, limit: 0.1, value: wall(ours.del) / wall(bridge.del) },
    {
      what: `50 ADDs at once: ${referenceName}'s rate of ours`,
      limit: 1 / 8,
      value: rateOf(referenceName) / rateOf("fairlead"),
    },
    {
      what: `100 DELs at once, ms until gone: six removals of ${text(median(kernel.remove))}`,
      limit: 6 * median(kernel.remove),
      value: median(removal.gone),
    },
    {
      what: "an ADD in between, ms more",
      limit: 5,
      value: wall(removal.addMeanwhile) - wall(removal.addBefore),
    },
    { what: "STATUS, ms", limit: 2, value: wall(status) },
    {
      what: "ADD of the last hundred pods of 1,000, of the first hundred's",
      limit: 1.2,
      value: wall(filling.slice(-100)) / wall(filling.slice(0, 100)),
    },
    {
      what: `ADD among ${clusterSize} nodes, of one's alone`,
      limit: 1.2,
      value: wall(byName(amongMany, "fairlead").add) / wall(ours.add),
    },
  ];
}

function measure(): { readonly measured: Measured; readonly amongMany: readonly Series[] } {
  const directory = mkdtempSync(join(tmpdir(), "fairlead-bench-"));
  const lab = join(directory, "lab");
  const fairlead = (...args: readonly string[]): string =>
    execFileSync(join(root, "dist/bin/fairlead"), ["lab", ...args], {
      stdio: ["ignore", "pipe", "pipe"],
      encoding: "utf8",
    });
  const inside = (...words: readonly string[]): string =>
    fairlead("exec", "--dir", lab, "node-a", "--", ...words);
  const run = (parts: string): Measured => {
    const program = join(root, "bench/cni/measure.ts");
    const launcher = join(root, "dist/cni/fairlead");
    inside(process.execPath, program, directory, launcher, String(rounds), parts);
    const result: Measured = JSON.parse(readFileSync(join(directory, "measured.json"), "utf8"));
    return result;
  };
  try {
    compileRunner(join(directory, "runner"));
    fairlead("up", "--dir", lab, "--nodes", "1");
    const measured = run("all");
    addNodes(join(lab, "cluster"));
    waitForRoutes(() => inside("sh", "-c", "ip route show proto 76 | wc -l"));
    const { sequential: amongMany } = run("ours");
    return { measured, amongMany };
  } finally {
    fairlead("down", "--dir", lab);
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Nodes that exist in manifests only: a route, a neighbor and a forwarding entry each. */
function addNodes(cluster: string): void {
  const manifest = Array.from({ length: clusterSize - 1 }, (_, index) => {
    const name = `node-${index}`;
    const [high, low] = [Math.floor(index / 32), (index % 32) * 8];
    return `apiVersion: v1
kind: Node
metadata: { name: ${name} }
spec: { podCIDRs: [10.244.${32 + high}.${low}/29] }
status: { addresses: [{ type: InternalIP, address: 10.99.${Math.floor(index / 250)}.${1 + (index % 250)} }] }
`;
  });
  const file = join(cluster, "more-nodes.yaml");
  writeFileSync(`${file}.new`, manifest.join("---\n"));
  renameSync(`${file}.new`, file);
}

function waitForRoutes(count: () => string): void {
  const deadline = performance.now() + 60_000;
  while (Number(count()) < clusterSize - 1) {
    if (performance.now() > deadline) throw new Error(`${count()} routes after a minute`);
  }
}
