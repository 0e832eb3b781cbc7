// One node's reconcile loop in a network namespace of its own, with a cluster in the hands of the
// benchmark. Run as a program: one phase in a process of its own, its figures as JSON.
import { setImmediate, setTimeout } from "node:timers/promises";
import type { Snapshot } from "../../core/cluster/model.ts";
import { silentLog } from "../../core/log.ts";
import { RepairLedger } from "../../core/repair-ledger.ts";
import { parseConfig } from "../../daemon/config/config.ts";
import { planSettings } from "../../daemon/daemon.ts";
import { optimiseEarly } from "../../daemon/engine.ts";
import { Reconciler } from "../../daemon/reconcile/reconcile.ts";
import { openFileSource } from "../../daemon/source/file-source.ts";
import { systemClock } from "../../kernel/clock.ts";
import { openKernel } from "../../kernel/linux.ts";
import { aSnapshot } from "../../test/support/builders.ts";
import { createFakeSource } from "../../test/support/source.ts";
import { clusterOf, configuration, peerNode } from "./cluster.ts";

/** Milliseconds: by the clock, and of CPU time of all threads, the kernel's part with it. */
export interface Work {
  readonly elapsed: number;
  readonly cpu: number;
}

/** Milliseconds. */
export interface Phases {
  /** From the complete snapshot to the kernel: device, settings and table too. In a new process. */
  readonly first: Work & {
    /** The longest that the event loop was held up meanwhile, or by what came back of it. */
    readonly longestBlock: number;
  };
  readonly steady: {
    /** From the source's change to the kernel, of one node: re-addressed, removed, added. */
    readonly change: readonly number[];
    /** From the removal of one route, neighbor or entry by somebody else until it is back. */
    readonly heal: readonly number[];
    /** From the removal of every route by somebody else until all are back. */
    readonly storm: readonly number[];
    /** A comparison of everything that finds nothing. */
    readonly compare: readonly number[];
  };
  readonly read: {
    /** From opening the directory to the complete snapshot. */
    readonly elapsed: number;
    /** The longest that the event loop was held up meanwhile. */
    readonly longestBlock: number;
  };
}

// As the daemon has it.
optimiseEarly();
const [phase, where = "", count = "0"] = process.argv.slice(2);

function startNode(namespace: string) {
  const stack = new DisposableStack();
  const kernel = stack.use(openKernel({ namespace }));
  const source = createFakeSource();
  let wake = (): void => {};
  const reconciler = stack.use(
    new Reconciler({
      ledger: new RepairLedger(),
      kernel,
      source,
      settings: planSettings(parseConfig(configuration, "bench", { nodeName: "node-a" })),
      removalGraceMs: 0,
      missingNodeHint: () => "none",
      hostPorts: () => [],
      podAddresses: () => [],
      rememberSysctl: () => {},
      onPass: () => wake(),
      clock: systemClock,
      log: silentLog,
    }),
  );
  /** Milliseconds from now until a pass has seen this snapshot and all of it is in the kernel. */
  const bring = async (snapshot: Snapshot): Promise<number> => {
    const { promise, resolve } = Promise.withResolvers<number>();
    const startedAt = performance.now();
    wake = () => {
      const state = reconciler.state();
      const isDone = state?.isProgrammed === true && state.snapshot === source.state().snapshot;
      if (isDone) resolve(performance.now() - startedAt);
    };
    source.set(snapshot);
    const elapsed = await promise;
    wake = () => {};
    return elapsed;
  };
  return { stack, kernel, reconciler, bring };
}

async function first(namespace: string, nodes: number): Promise<Phases["first"]> {
  const node = startNode(namespace);
  using _stack = node.stack;
  const snapshot = aSnapshot({ nodes: clusterOf(nodes) });
  // The loop looks for a snapshot once as it starts.
  await setImmediate();
  using blocks = watchBlocks();
  const before = process.cpuUsage();
  const elapsed = await node.bring(snapshot);
  const { user, system } = process.cpuUsage(before);
  await setTimeout(200);
  const longestBlock = blocks.longest();
  expectRoutes(node.kernel.routes({ protocol: 76 }).length, nodes);
  return { elapsed, cpu: (user + system) / 1000, longestBlock };
}

function watchBlocks() {
  let [longest, last] = [0, performance.now()];
  const ticks = setInterval(() => {
    const now = performance.now();
    longest = Math.max(longest, now - last - 1);
    last = now;
  }, 1);
  return { longest: () => longest, [Symbol.dispose]: () => clearInterval(ticks) };
}

function expectRoutes(found: number, nodes: number): void {
  // One for unused addresses and one for the resolver's service address are the node's own.
  if (found !== nodes + 1) throw new Error(`${found} routes, expected ${nodes + 1}`);
}

async function steady(namespace: string, nodes: number): Promise<Phases["steady"]> {
  const node = startNode(namespace);
  using _stack = node.stack;
  const { kernel, reconciler } = node;
  const cluster = [...clusterOf(nodes)];
  await node.bring(aSnapshot({ nodes: cluster }));
  // Its own changes come back as notifications, and the loop rests as long as it has worked, four times.
  for (let passes = -1; passes !== reconciler.counters.passes;) {
    passes = reconciler.counters.passes;
    await setTimeout(Math.max(500, 5 * reconciler.counters.lastMs));
    if (reconciler.counters.lastMs < 5) break;
  }
  const rest = (): Promise<unknown> => setTimeout(250);
  await rest();
  const change: number[] = [];
  for (let i = 0; i < 24; i++) {
    const at = 1 + ((i * 97) % (nodes - 1));
    const [before] = cluster.slice(at, at + 1);
    if (i % 3 === 0) cluster[at] = peerNode(at - 1, 1);
    else cluster.splice(at, 1);
    change.push(await node.bring(aSnapshot({ nodes: cluster })));
    if (i % 3 !== 0) {
      cluster.splice(at, 0, before!);
      await rest();
      change.push(await node.bring(aSnapshot({ nodes: cluster })));
    }
    await rest();
  }
  const putBack = async (wanted: number): Promise<void> => {
    const { repairs } = reconciler.counters;
    const sum = (): number => repairs.route + repairs.neighbor + repairs.fdb;
    const target = sum() + wanted;
    while (sum() < target) await setImmediate();
  };
  using somebody = openKernel({ namespace });
  const device = kernel.link("fl-vxlan")!.name;
  const heal: number[] = [];
  for (let i = 0; i < 15; i++) {
    const route = kernel.routes({ protocol: 76 }).filter((one) => one.device === device)[i * 7]!;
    const neighbor = kernel.neighbors(device)[i * 7]!;
    const entry = kernel.fdb(device)[i * 7]!;
    await rest();
    const startedAt = performance.now();
    const done = putBack(1);
    if (i % 3 === 0) somebody.apply([{ kind: "remove-route", route }]);
    else if (i % 3 === 1) somebody.apply([{ kind: "remove-neighbor", neighbor }]);
    else somebody.apply([{ kind: "remove-fdb", entry }]);
    await done;
    heal.push(performance.now() - startedAt);
  }
  const storm: number[] = [];
  for (let i = 0; i < 3; i++) {
    await rest();
    const routes = kernel.routes({ protocol: 76 }).filter((one) => one.device === device);
    const startedAt = performance.now();
    const done = putBack(routes.length);
    somebody.apply(routes.map((route) => ({ kind: "remove-route", route }) as const));
    await done;
    storm.push(performance.now() - startedAt);
    expectRoutes(kernel.routes({ protocol: 76 }).length, nodes);
  }
  const compare: number[] = [];
  for (let i = 0; i < 3; i++) {
    await rest();
    // What is of a device of ours is compared with all the rest.
    const passes = reconciler.counters.passes;
    somebody.apply([{ kind: "set-link", device, settings: { isUp: true, group: i + 1 } }]);
    while (reconciler.counters.passes === passes) await setImmediate();
    compare.push(reconciler.counters.lastMs);
  }
  return { change, heal, storm, compare };
}

async function read(directory: string): Promise<Phases["read"]> {
  await setTimeout(50);
  using blocks = watchBlocks();
  const startedAt = performance.now();
  const source = openFileSource({ directory, log: silentLog });
  await new Promise<void>((resolve) => {
    source.subscribe(({ snapshot }) => {
      if (snapshot.isInSync) resolve();
    });
  });
  const elapsed = performance.now() - startedAt;
  const longestBlock = blocks.longest();
  source[Symbol.dispose]();
  return { elapsed, longestBlock };
}

const result =
  phase === "first"
    ? await first(where, Number(count))
    : phase === "steady"
      ? await steady(where, Number(count))
      : await read(where);
process.stdout.write(JSON.stringify(result));
process.exit(0);
