// 20 at once in one lease directory: the Go host-local, fairlead-ipam with a daemon and without, and the
// store in a process of its own. No address is ever given to two, none is lost and none left, also when
// any of the processes are killed.
import { join } from "node:path";
import { createTwinNode } from "../cni/twin-node.ts";
import type { StormFigures } from "./storm-node.ts";

const root = join(import.meta.dirname, "../..");

export interface StormOptions {
  /** Requests of each of the 20, at least. */
  readonly turns: number;
  /** Processes killed, at least. */
  readonly kills?: number;
  readonly seed: number;
}

/** Throws naming the seed and the request. dist/ must have been built. */
export async function storm({ turns, kills = 0, seed }: StormOptions): Promise<StormFigures> {
  await using node = await createTwinNode();
  const program = [process.execPath, join(import.meta.dirname, "storm-node.ts")];
  const launcher = join(root, "dist/cni/fairlead-ipam");
  const words = [String(turns), String(seed), launcher, String(kills)];
  const { status, stdout, stderr } = await node.run([...program, ...words], {
    PATH: process.env["PATH"],
  });
  if (status !== 0) throw new Error(`The storm of seed ${seed} ended with ${status}: ${stderr}`);
  return JSON.parse(stdout) as StormFigures;
}
