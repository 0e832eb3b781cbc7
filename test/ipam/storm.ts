// 20 at once in one lease directory: the Go host-local, fairlead-ipam with a daemon and without, and the
// store in a process of its own. No address is ever given to two, none is lost and none left.
import { join } from "node:path";
import { createTwinNode, serveOn } from "../cni/twin-node.ts";
import type { StormFigures } from "./storm-node.ts";

const root = join(import.meta.dirname, "../..");

/** Throws naming the seed and the request. `turns`: of each of the 20. dist/ must have been built. */
export async function storm({
  turns,
  seed,
}: {
  turns: number;
  seed: number;
}): Promise<StormFigures> {
  await using node = await createTwinNode();
  // It tells each request, which nobody is to wait for.
  (await serveOn(node)).stdout!.resume();
  const program = [process.execPath, join(import.meta.dirname, "storm-node.ts")];
  const words = [String(turns), String(seed), join(root, "dist/cni/fairlead-ipam")];
  const { status, stdout, stderr } = await node.run([...program, ...words], {
    PATH: process.env["PATH"],
  });
  if (status !== 0) throw new Error(`The storm of seed ${seed} ended with ${status}: ${stderr}`);
  return JSON.parse(stdout) as StormFigures;
}
