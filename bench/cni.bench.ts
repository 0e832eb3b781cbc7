// ADD and DEL beside Debian's reference plugins, interleaved in one run, in one lab node.
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { formatTable } from "../cli/table.ts";

const root = join(import.meta.dirname, "..");
const rounds = 50;
/** What the ratios compare with. */
const reference = "bridge + host-local";

type Times = Readonly<Record<string, { readonly add: number[]; readonly del: number[] }>>;

const times = measure();
const percentile = (values: readonly number[], share: number): number =>
  values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) * share)] ?? Number.NaN;
const median = (values: readonly number[]): number => percentile(values, 0.5);

const figures = Object.entries(times).map(([name, { add, del }]) => ({
  name,
  addMs: { p50: median(add), p90: percentile(add, 0.9) },
  delMs: { p50: median(del), p90: percentile(del, 0.9) },
  addRatio: median(add) / median(times[reference]?.add ?? []),
  delRatio: median(del) / median(times[reference]?.del ?? []),
}));

console.log(
  formatTable([
    ["PLUGIN", "ADD P50 MS", "P90", "RATIO", "DEL P50 MS", "P90", "RATIO"],
    ...figures.map(({ name, addMs, delMs, addRatio, delRatio }) => [
      name,
      ...[addMs.p50, addMs.p90, addRatio, delMs.p50, delMs.p90, delRatio].map((n) => n.toFixed(2)),
    ]),
  ]),
);
console.log(`${rounds} rounds, each plugin in turn; ratio: to ${reference}\n`);
mkdirSync(join(root, "bench/results"), { recursive: true });
writeFileSync(
  join(root, "bench/results/cni.json"),
  `${JSON.stringify({ rounds, reference, figures }, null, 2)}\n`,
);

function measure(): Times {
  const directory = mkdtempSync(join(tmpdir(), "fairlead-bench-"));
  const lab = join(directory, "lab");
  const output = join(directory, "times.json");
  const fairlead = (...args: readonly string[]): void => {
    execFileSync(join(root, "dist/bin/fairlead"), ["lab", ...args], {
      stdio: ["ignore", "ignore", "pipe"],
    });
  };
  try {
    fairlead("up", "--dir", lab, "--nodes", "1");
    const inside = [
      process.execPath,
      join(root, "bench/contenders.ts"),
      String(rounds),
      output,
      join(root, "dist/cni/fairlead"),
    ];
    fairlead("exec", "--dir", lab, "node-a", "--", ...inside);
    const times: Times = JSON.parse(readFileSync(output, "utf8"));
    return times;
  } finally {
    fairlead("down", "--dir", lab);
    rmSync(directory, { recursive: true, force: true });
  }
}
