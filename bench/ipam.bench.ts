// Giving an address beside Debian's host-local, interleaved in one run, in one lab node: in process, as
// ADD does it, through fairlead-ipam with the daemon, and through fairlead-ipam alone.
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { formatTable } from "../cli/table.ts";
import { type Goal, formatGoals } from "./goals.ts";
import { compileRunner } from "./cni/runner.ts";
import type { Measured } from "./ipam/measure.ts";
import { concurrency, names, scenarios } from "./ipam/scenarios.ts";

const root = join(import.meta.dirname, "..");

const percentile = (values: readonly number[], share: number): number =>
  values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) * share)] ?? Number.NaN;
const median = (values: readonly number[]): number => percentile(values, 0.5);
const text = (value: number): string => value.toFixed(value < 1 ? 3 : value < 100 ? 2 : 0);
const megabytes = (octets: number): string => (octets / 1e6).toFixed(1);

const measured = measure();
report(measured);
mkdirSync(join(root, "bench/results"), { recursive: true });
writeFileSync(
  join(root, "bench/results/ipam.json"),
  `${JSON.stringify({ goals: goalsOf(measured), measured })}\n`,
);

function report({ scenarios: levels, atOnce, cost }: Measured): void {
  for (const { name, series } of levels) {
    const reference = addTimes(measured, name, names.reference);
    console.log(
      formatTable([
        [name.toUpperCase(), "ADD/S", "RATIO", "ADD P50 MS", "P99", "DEL P50"],
        ...series.map(({ name: who, add, del }) => [
          who,
          text(1000 / median(add)),
          text(median(reference) / median(add)),
          text(median(add)),
          text(percentile(add, 0.99)),
          text(median(del)),
        ]),
      ]),
    );
  }
  const base = rateOf(measured, names.reference);
  console.log(
    formatTable([
      [`${concurrency} AT ONCE, EMPTY /16`, "ADD/S", "RATIO"],
      ...atOnce.map(({ name }) => {
        const rate = rateOf(measured, name);
        return [name, text(rate), text(rate / base)];
      }),
    ]),
  );
  console.log(formatGoals(goalsOf(measured), text));
  const [empty = "", , , , large = ""] = scenarios.map(({ name }) => name);
  const growth =
    median(addTimes(measured, large, names.reference)) /
    median(addTimes(measured, empty, names.reference));
  console.log(`${names.reference}: ${large} takes ${text(growth)} times what ${empty} does.`);
  console.log(
    `The store with ${cost.leases} leases: ${megabytes(cost.heap)} MB of heap, ` +
      `${megabytes(cost.resident)} MB resident; read in ${text(cost.first)} ms by the first request.`,
  );
  console.log(
    `Each in turn, with a directory of its own, in memory; ADD/S and ratio at the median, to ${names.reference}`,
  );
}

function addTimes({ scenarios: levels }: Measured, level: string, who: string): readonly number[] {
  const series = levels.find(({ name }) => name === level)?.series;
  const found = series?.find(({ name }) => name === who);
  if (found === undefined) throw new Error(`Nothing was measured of "${who}" at "${level}"`);
  return found.add;
}

function rateOf({ atOnce }: Measured, who: string): number {
  return median(atOnce.find(({ name }) => name === who)?.addRate ?? []);
}

/** What the project holds itself to. */
function goalsOf(all: Measured): Goal[] {
  const time = (level: string, who: string): number => median(addTimes(all, level, who));
  const ratio = (level: string, who: string): number =>
    time(level, names.reference) / time(level, who);
  const levels = scenarios.map(({ name }) => name);
  const [empty = "", , full = "", beside = "", large = "", many = ""] = levels;
  const worst = (who: string): number => Math.min(...levels.map((level) => ratio(level, who)));
  const growth = (who: string): number => time(large, who) / time(empty, who);
  return [
    { what: "in process: host-local's rate, times", least: 20, value: worst(names.inProcess) },
    {
      what: `in process, ${concurrency} at once`,
      least: 20,
      value: ratioAtOnce(all, names.inProcess),
    },
    { what: "with the daemon: host-local's rate, times", least: 3, value: worst(names.served) },
    {
      what: `with the daemon, ${concurrency} at once`,
      least: 3,
      value: ratioAtOnce(all, names.served),
    },
    { what: `in process: ${large}, of ${empty}`, most: 1.5, value: growth(names.inProcess) },
    { what: `with the daemon: ${large}, of ${empty}`, most: 1.2, value: growth(names.served) },
    {
      what: "in process: the /64, of a /24 as full",
      most: 1.2,
      value: time(beside, names.inProcess) / time(full, names.inProcess),
    },
    {
      what: `in process: ${many}, of ${empty}`,
      most: 1.5,
      value: time(many, names.inProcess) / time(empty, names.inProcess),
    },
  ];
}

function ratioAtOnce(all: Measured, who: string): number {
  return rateOf(all, who) / rateOf(all, names.reference);
}

function measure(): Measured {
  const directory = mkdtempSync(join(tmpdir(), "fairlead-bench-"));
  const lab = ["--dir", join(directory, "lab")];
  const fairlead = (...args: readonly string[]): string =>
    execFileSync(join(root, "dist/bin/fairlead"), ["lab", ...args], {
      stdio: ["ignore", "pipe", "inherit"],
      encoding: "utf8",
    });
  try {
    compileRunner(join(directory, "runner"));
    fairlead("up", ...lab, "--nodes", "1");
    const program = [process.execPath, join(root, "bench/ipam/measure.ts")];
    const words = [directory, join(root, "dist/cni")];
    fairlead("exec", ...lab, "node-a", "--", ...program, ...words);
    const result: Measured = JSON.parse(readFileSync(join(directory, "measured.json"), "utf8"));
    return result;
  } finally {
    fairlead("down", ...lab);
    rmSync(directory, { recursive: true, force: true });
  }
}
