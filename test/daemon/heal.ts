// A daemon's process on a machine of its own, with a generated cluster and pods: single objects of every
// kind are removed or altered, and it is measured when each is back. FAIRLEAD_SEED replays a run.
import { setTimeout } from "node:timers/promises";
import { openKernel } from "../../kernel/linux.ts";
import { configuration, writeCluster } from "../../bench/overlay/cluster.ts";
import { formatTable } from "../../cli/table.ts";
import { seededRandom } from "../support/random.ts";
import { addForeign, foreignState } from "./foreign-objects.ts";
import { lastingRules } from "./lasting-rules.ts";
import { attachPods } from "./heal-pods.ts";
import { type Fault, HealFaults } from "./heal-faults.ts";
import { TestMachine } from "./node-process.ts";

export interface HealOptions {
  readonly nodes: number;
  readonly pods: number;
  /** Faults of each kind. */
  readonly each: number;
  readonly seed: number;
}

export interface HealSpread {
  readonly count: number;
  /** Milliseconds, from before the fault until a look finds the object as it was. */
  readonly p50: number;
  readonly p99: number;
  readonly worst: number;
}

export interface HealFigures {
  readonly nodes: number;
  readonly pods: number;
  /** By kind of object, and of all. */
  readonly healed: Readonly<Record<string, HealSpread>>;
  /** As the daemon counted them, by kind. */
  readonly repairs: Readonly<Record<string, number>>;
}

/** What is aimed at, p99 at 1,000 nodes. */
const goalMs = 100;
const healDeadlineMs = 30_000;

/** A line for each kind. */
export function formatHealing({ nodes, pods, healed, repairs }: HealFigures): string {
  const rows = Object.entries(healed).map(([kind, { count, p50, p99, worst }]) => [
    kind,
    String(count),
    p50.toFixed(1),
    p99.toFixed(1),
    worst.toFixed(1),
    p99 <= goalMs ? "" : `above ${goalMs}`,
  ]);
  const counted = Object.entries(repairs).map(([kind, count]) => `${kind} ${count}`);
  return [
    `${nodes} nodes, ${pods} pods; repairs: ${counted.join(", ")}`,
    formatTable([["MS UNTIL IT IS BACK", "FAULTS", "P50", "P99", "WORST", ""], ...rows]),
  ].join("\n");
}

/** Throws naming the seed and the fault when an object does not come back, or something else has gone. */
export async function measureHealing(options: HealOptions): Promise<HealFigures> {
  const { nodes, pods, each, seed } = options;
  await using machine = await TestMachine.open();
  writeCluster(machine.path("/etc/fairlead/cluster.d"), nodes);
  machine.write("/etc/fairlead/fairlead.yaml", configuration);
  const daemon = machine.startDaemon();
  await machine.ready();
  using kernel = openKernel({ namespace: machine.network });
  const attached = attachPods(machine, kernel, pods);
  await setTimeout(1_000);
  using faults = await HealFaults.open(machine, kernel, attached);
  const before = stateOf(machine);
  const foreign = addForeign(machine);
  const random = seededRandom(seed);
  const taken: Record<string, number[]> = {};
  const due = shuffled(
    faults.kinds.flatMap((kind) => Array.from({ length: each }, () => kind)),
    (limit) => random.below(limit),
  );
  for (const kind of due) {
    const fault = faults.make(kind, (limit) => random.below(limit));
    const name = `Seed ${seed}: ${kind}: "${fault.what}"`;
    (taken[kind] ??= []).push(await healedMs(fault, name, daemon.log));
    await setTimeout(50 + random.below(100));
  }
  await expectState(machine, before, seed);
  const left = foreignState(machine);
  if (left !== foreign) throw new Error(`Seed ${seed}: of others' things is left:\n${left}`);
  const healed = Object.fromEntries(
    Object.entries({ ...taken, all: Object.values(taken).flat() }).map(([kind, values]) => [
      kind,
      spreadOf(values),
    ]),
  );
  return { nodes, pods, healed, repairs: await repairsOf(machine) };
}

async function healedMs(
  { alter, isWhole, everyMs = 1 }: Fault,
  name: string,
  log: () => string,
): Promise<number> {
  const startedAtMs = performance.now();
  await alter();
  while (!isWhole()) {
    if (performance.now() - startedAtMs > healDeadlineMs) {
      const last = log().split("\n").slice(-6).join("\n").slice(0, 6_000);
      throw new Error(`${name} is not put right within ${healDeadlineMs} ms:\n${last}`);
    }
    await setTimeout(everyMs);
  }
  return performance.now() - startedAtMs;
}

function shuffled<T>(items: readonly T[], below: (limit: number) => number): readonly T[] {
  const mixed = [...items];
  for (let i = mixed.length - 1; i > 0; i--) {
    const j = below(i + 1);
    [mixed[i], mixed[j]] = [mixed[j]!, mixed[i]!];
  }
  return mixed;
}

function spreadOf(values: readonly number[]): HealSpread {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number): number =>
    Math.round((sorted[Math.ceil((sorted.length - 1) * share)] ?? 0) * 10) / 10;
  return { count: values.length, p50: at(0.5), p99: at(0.99), worst: at(1) };
}

/** Everything of the daemon's in the machine's kernel and files, as lines in their own order. */
const stateOf = (machine: TestMachine): string =>
  lastingRules(
    machine.run(
      "sh",
      "-c",
      `for d in $(ip -br link | sed -nE 's/^(fl[^@ ]*).*/\\1/p' | sort); do
        ip -d link show $d; ip address show $d; ip neighbor show dev $d
        sysctl net.ipv4.conf.$d.rp_filter
      done
      bridge fdb show dev fl-vxlan; ip route show proto 76; ip route show table local proto 76
      nft list table inet fairlead; sysctl net.ipv4.ip_forward
      cat /run/fairlead/node.json /etc/cni/net.d/10-fairlead.conflist`,
    ),
  )
    // Of a new device all is as before but its number, and the order in which the kernel lists.
    .replaceAll(/^\d+: /gm, "")
    .split("\n")
    .sort()
    .join("\n");

async function expectState(machine: TestMachine, before: string, seed: number): Promise<void> {
  const giveUpAtMs = performance.now() + healDeadlineMs;
  for (;;) {
    const now = stateOf(machine);
    if (now === before) return;
    if (performance.now() < giveUpAtMs) {
      await setTimeout(100);
      continue;
    }
    const [old, news] = [new Set(before.split("\n")), new Set(now.split("\n"))];
    const lines = [
      ...[...old].filter((line) => !news.has(line)).map((line) => `- ${line}`),
      ...[...news].filter((line) => !old.has(line)).map((line) => `+ ${line}`),
    ];
    throw new Error(`Seed ${seed}: at the end is not as before:\n${lines.join("\n")}`);
  }
}

async function repairsOf(machine: TestMachine): Promise<Record<string, number>> {
  const url = "http://127.0.0.1:9440/metrics";
  const script = `fetch("${url}").then((answer) => answer.text()).then((text) => process.stdout.write(text))`;
  const text = machine.run(process.execPath, "-e", script);
  const found = text.matchAll(/^fairlead_repairs_total\{kind="(\w+)"\} (\d+)$/gm);
  return Object.fromEntries(Array.from(found, ([, kind, count]) => [kind!, Number(count)]));
}
