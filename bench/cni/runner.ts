// bench/cni/runner.c from here: attachments through a plugin or a chain, each timed by itself.
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Contender } from "./contenders.ts";

/** Milliseconds. */
export interface Timing {
  readonly wall: number;
  /** Of the plugin's processes; what a daemon does for them is not in it. */
  readonly cpu: number;
}

export interface Batch {
  readonly timings: readonly Timing[];
  /** Of the first, milliseconds of CLOCK_MONOTONIC. */
  readonly startedAt: number;
  /** From the first start to the last end, milliseconds. */
  readonly elapsed: number;
}

export const referenceDir = "/usr/lib/cni";

/** Compiled where the benchmark runs, by the compiler that the build needs anyway. */
export function compileRunner(output: string): void {
  const source = join(import.meta.dirname, "runner.c");
  const flags = "-std=gnu11 -O2 -static -Wall -Wextra -Werror".split(" ");
  execFileSync("musl-gcc", [...flags, "-o", output, source]);
}

export interface Runner {
  run(contender: Contender, command: string, ids: readonly string[], concurrency?: number): Batch;
}

/** `directory` holds the compiled runner, and takes the configurations. */
export function openRunner(directory: string): Runner {
  const program = join(directory, "runner");
  return {
    run(contender, command, ids, concurrency = 1) {
      const chain = contender.chain.map(({ plugin, conf }, index) => {
        const file = join(directory, `conf-${index}.json`);
        const cniVersion = command === "STATUS" ? "1.1.0" : "1.0.0";
        writeFileSync(file, JSON.stringify({ cniVersion, ...conf }));
        return `${plugin}=${file}`;
      });
      const words = ["run", String(concurrency), command, referenceDir, chain.join(","), ...ids];
      const env = { ...process.env, ...contender.env };
      return parseBatch(execFileSync(program, words, { encoding: "utf8", env }));
    },
  };
}

function parseBatch(text: string): Batch {
  const rows = text
    .trim()
    .split("\n")
    .map((line) => line.split(" ").slice(1).map(Number))
    .map(([started = 0, ended = 0, cpu = 0]) => ({ started, ended, cpu }));
  const first = Math.min(...rows.map(({ started }) => started));
  const last = Math.max(...rows.map(({ ended }) => ended));
  return {
    timings: rows.map(({ started, ended, cpu }) => ({
      wall: (ended - started) / 1000,
      cpu: cpu / 1000,
    })),
    startedAt: first / 1000,
    elapsed: (last - first) / 1000,
  };
}
