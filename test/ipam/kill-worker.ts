// Run by soak-kill.ts as a process of its own: reserves and releases without end, says before and
// after each what it does, and is killed somewhere in between.
// Arguments: data directory, its own prefix of container ids, seed.
import { writeSync } from "node:fs";
import { systemClock } from "../../kernel/clock.ts";
import { openIpam } from "../../ipam/store.ts";
import { seededRandom } from "../support/random.ts";
import { add, key, never } from "./lease-directory.ts";
import { workerContainers, workerRanges } from "./soak-kill.ts";

const [dataDir = "", prefix = "", seed = "0"] = process.argv.slice(2);
const ipam = openIpam({ dataDir, clock: systemClock });
const random = seededRandom(Number(seed));
// Synchronous, so that what was said is in the pipe when the process is killed.
const say = (...words: readonly string[]): number => writeSync(1, `${words.join(" ")}\n`);

for (;;) {
  const id = `${prefix}${random.below(workerContainers)}`;
  say("begin", id);
  if (random.below(2) === 0) {
    say("holds", id, ...(await add(ipam, key(id), { ranges: workerRanges })));
  } else {
    await ipam.release(key(id), never);
    say("holds", id);
  }
}
