// Run by soak-processes.ts as a node of its own: claims and gives back without end, says before each
// round that it begins and after it what it holds, and is killed somewhere in between.
// Arguments: directory of the store, the node's name, seed.
import { randomUUID } from "node:crypto";
import { writeSync } from "node:fs";
import { ClaimAgent } from "../../../ipam/claims/agent.ts";
import { openFileStore } from "../../../ipam/claims/file-store.ts";
import { runSteps } from "../../../ipam/claims/step.ts";
import { systemClock } from "../../../kernel/clock.ts";
import { seededRandom } from "../../support/random.ts";
import { workerPolicy, workerPool } from "./soak-processes.ts";

const [directory = "", node = "", seed = "0"] = process.argv.slice(2);
const random = seededRandom(Number(seed));
const store = openFileStore({ directory, clock: systemClock });
const { signal } = new AbortController();
// Synchronous, so that what was said is in the pipe when the process is killed.
const say = (...words: readonly string[]): number => writeSync(1, `${words.join(" ")}\n`);
const agent = new ClaimAgent({
  node,
  instance: `machine of ${node}`,
  pools: [workerPool],
  policy: workerPolicy,
  random,
  newSession: randomUUID,
});

for (;;) {
  const isFull = random.below(3) === 0;
  const useOf = () => ({ used: 0, quarantined: 0, free: isFull ? 0 : 10 });
  say("begins");
  const situation = { nowMs: systemClock.monotonicMs(), useOf };
  const report = await runSteps(agent.reconcile(situation), store, signal);
  say("holds", ...report.held.map(({ block }) => block));
  if (random.below(4) === 0) await runSteps(agent.renew(), store, signal);
}
