// A lab node under a storm of requests, whose launchers and daemon are killed at random moments, and what
// they leave: nothing.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { CniSoakFigures } from "./soak-node.ts";

const root = join(import.meta.dirname, "../..");

export interface CniSoak {
  /** Attachments, one after the other in each worker. */
  readonly count: number;
  readonly seed: number;
  /** Attachments at once. */
  readonly workers: number;
}

/** Throws naming the seed when something is left. dist/ must have been built. */
export function soakCni({ count, seed, workers }: CniSoak): CniSoakFigures {
  const directory = mkdtempSync(join(tmpdir(), "fairlead-soak-"));
  const command = join(root, "dist/bin/fairlead");
  const lab = (...args: readonly string[]): void => {
    execFileSync(command, ["lab", ...args], { stdio: ["ignore", "ignore", "pipe"] });
  };
  const inLab = ["--dir", join(directory, "lab")];
  const output = join(directory, "figures.json");
  try {
    lab("up", ...inLab, "--nodes", "1");
    const program = [process.execPath, join(import.meta.dirname, "soak-node.ts")];
    const words = [
      ...[count, seed, workers].map(String),
      join(root, "dist/cni/fairlead"),
      command,
      output,
    ];
    lab("exec", ...inLab, "node-a", "--", ...program, ...words);
    const figures: CniSoakFigures = JSON.parse(readFileSync(output, "utf8"));
    if (Object.values(figures.left).some((left) => left !== 0)) {
      throw new Error(`Seed ${seed} leaves ${JSON.stringify(figures.left)}`);
    }
    return figures;
  } finally {
    lab("down", ...inLab);
    rmSync(directory, { recursive: true, force: true });
  }
}
