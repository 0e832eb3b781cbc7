// ./run soak [NAME]: the full counts of what ./run test only samples, seeded, with figures.
// FAIRLEAD_SEED=N replays a run.
import { spawnSync } from "node:child_process";
import { fuzzDispatcher, fuzzLauncher, fuzzServer } from "../test/cni/fuzz.ts";
import { soakCni } from "../test/cni/soak.ts";
import { churnDaemon } from "../test/daemon/churn.ts";
import { formatHealing, measureHealing } from "../test/daemon/heal.ts";
import { flood, fuzzQueries, fuzzUpstream } from "../test/dns/fuzz.ts";
import { soakEveryCourse } from "../test/ipam/claims/soak.ts";
import { soakKills } from "../test/ipam/soak-kill.ts";
import { storm } from "../test/ipam/storm.ts";

const seed = Number(process.env["FAIRLEAD_SEED"] ?? Date.now() % 2 ** 31);

/** Each throws when something was lost or left; what it returns is printed. */
const soaks: Readonly<Record<string, () => unknown>> = {
  /**
   * In one lease directory: 20 at once, host-local's processes and ours mixed; the same while any of
   * them and the daemon are killed; and processes killed within the store's writes. 10,000 kills.
   */
  ipam: async () => ({
    mixed: await storm({ turns: 100, seed }),
    killed: await storm({ turns: 0, kills: 9_000, seed }),
    writers: await soakKills({ count: 1_000, seed }),
  }),
  /** Every course of the claim protocol on two or three nodes, random deeper ones, processes killed. */
  claims: () => soakEveryCourse({ courses: 5_000, rounds: 20, seed }),
  /** ADD, CHECK, DEL and GC of 20 attachments at once, launchers and daemons of a lab node killed. */
  cni: () => soakCni({ count: 1_000, seed, workers: 20 }),
  /** 100,000 inputs that nobody should send. */
  fuzz: async () => ({
    dispatcher: await fuzzDispatcher({ count: 70_000, seed }),
    server: await fuzzServer({ count: 28_000, seed }),
    launcher: await fuzzLauncher({ count: 2_000, seed }),
  }),
  /** 100,000 messages that nobody should send to the resolver, upstreams that lie, a client that floods. */
  dns: async () => ({
    queries: await fuzzQueries({ count: 80_000, seed }),
    plain: await fuzzQueries({ count: 15_000, seed, udp: "plain" }),
    upstream: await fuzzUpstream({ count: 5_000, seed }),
    flood: await flood({ ms: 20_000 }),
  }),
  /** What a daemon owns, removed and altered for a minute while pods talk. */
  faults: () =>
    runTest("test/daemon/faults.lab.test.ts", {
      FAIRLEAD_FAULTS_MS: "60000",
      FAIRLEAD_SEED: String(seed),
    }),
  /** How fast one object of every kind comes back that somebody removed or altered. */
  heal: async () => {
    for (const [nodes, each] of [
      [1_000, 30],
      [5_000, 5],
    ] as const) {
      console.log(formatHealing(await measureHealing({ nodes, pods: 30, each, seed })));
    }
  },
  /** Nodes, services and pods come and go: a daemon's memory stays what it was. */
  memory: () =>
    churnDaemon({ nodes: 200, names: 200, before: 3_000, changes: 20_000, restMs: 75_000, seed }),
  /** ADD and DEL killed on the real kernel. */
  attach: () => runTest("test/attach/kill.lab.test.ts", { FAIRLEAD_KILLS: "200" }),
};

const [wanted] = process.argv.slice(2);
if (wanted !== undefined && soaks[wanted] === undefined) {
  console.error(`soak: there is no "${wanted}": expected ${Object.keys(soaks).join(", ")}`);
  process.exit(2);
}
console.log(`seed ${seed}`);
for (const [name, soak] of Object.entries(soaks)) {
  if (wanted !== undefined && wanted !== name) continue;
  const startedAt = performance.now();
  const figures = await Promise.resolve(soak());
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  console.log(`${name}: nothing lost, nothing left, in ${seconds} s`, figures ?? "");
}

function runTest(file: string, environment: Readonly<Record<string, string>>): void {
  const { status } = spawnSync(
    "node_modules/.bin/vitest",
    ["run", "--project", "lab", "--testTimeout=600000", file],
    { stdio: "inherit", env: { ...process.env, ...environment } },
  );
  if (status !== 0) throw new Error(`${file} failed`);
}
