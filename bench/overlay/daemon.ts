// The whole daemon, as it is installed, on a machine of its own with a cluster of one file per node.
import { readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { openKernel } from "../../kernel/linux.ts";
import { TestMachine } from "../../test/daemon/node-process.ts";
import { configuration, manifestOf, peerNode, writeCluster } from "./cluster.ts";

export interface WholeDaemon {
  readonly nodes: number;
  /** Milliseconds from the start of the process until the node is ready. */
  readonly ready: number;
  /** Milliseconds from rename(2) of one node's manifest to the kernel. */
  readonly rename: readonly number[];
  /** Mebibytes. */
  readonly peak: number;
  readonly steady: number;
  /** Milliseconds of all threads in a minute without any event. */
  readonly cpuPerMinute: number;
  /** The same of a daemon of one node, started after it and measured in the same minute. */
  readonly cpuAlonePerMinute: number;
}

const command = join(import.meta.dirname, "../../dist/bin/fairlead");
const settleMs = 10_000;
const restMs = 60_000;

export async function measureDaemon(nodes: number): Promise<WholeDaemon> {
  await using machine = await TestMachine.open();
  await using other = await TestMachine.open();
  using kernel = openKernel({ namespace: machine.network });
  const { pid, ready, directory } = await startDaemon(machine, nodes);
  const { pid: alone } = await startDaemon(other, 1);
  const rename: number[] = [];
  const peers = nodes - 1;
  for (let i = 0; i < Math.min(15, peers); i++) {
    await setTimeout(400);
    const node = peerNode((i * 37) % peers, 1);
    const temporary = join(directory, `.${node.name}.new`);
    writeFileSync(temporary, manifestOf(node));
    const { promise, resolve } = Promise.withResolvers<number>();
    using _watch = kernel.watch(() => resolve(performance.now()));
    const renamedAt = performance.now();
    renameSync(temporary, join(directory, `${node.name}.yaml`));
    rename.push((await promise) - renamedAt);
  }
  await setTimeout(settleMs);
  const before = [pid, alone].map(cpuMs);
  const restedAt = performance.now();
  await setTimeout(restMs);
  const minutes = (performance.now() - restedAt) / 60_000;
  const [cpuPerMinute = 0, cpuAlonePerMinute = 0] = [pid, alone].map(
    (one, i) => (cpuMs(one) - (before[i] ?? 0)) / minutes,
  );
  const memory = (field: string): number => {
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    return Number(new RegExp(`^${field}:\\s+(\\d+) kB`, "m").exec(status)?.[1]) / 1024;
  };
  const [peak, steady] = [memory("VmHWM"), memory("VmRSS")];
  return { nodes, ready, rename, peak, steady, cpuPerMinute, cpuAlonePerMinute };
}

async function startDaemon(machine: TestMachine, nodes: number) {
  const directory = machine.path("/etc/fairlead/cluster.d");
  writeCluster(directory, nodes);
  machine.write("/etc/fairlead/fairlead.yaml", configuration);
  const startedAt = performance.now();
  const { pid } = machine.startDaemon(undefined, [command]);
  // Not by the status, whose report of all peers is work, and memory, of the daemon's own.
  using kernel = openKernel({ namespace: machine.network });
  while (kernel.routes({ protocol: 76 }).length <= nodes) await setTimeout(100);
  return { pid, ready: performance.now() - startedAt, directory };
}

/** Of all threads, from schedstat (Linux: Documentation/scheduler/sched-stats), in nanoseconds there. */
function cpuMs(pid: number): number {
  const threads = `/proc/${pid}/task`;
  const times = readdirSync(threads).map((id) =>
    Number(readFileSync(`${threads}/${id}/schedstat`, "utf8").split(" ")[0]),
  );
  return times.reduce((sum, time) => sum + time, 0) / 1e6;
}
