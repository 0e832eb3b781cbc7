// A cluster of 5,000 Nodes, 10,000 Services and 50,000 endpoints read from the Kubernetes API, and from a real
// etcd: time, processor time and memory until it is in sync, beside a plain client that reads and keeps all as
// it is, in turn; then the processor time of one change.
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { setTimeout as wait } from "node:timers/promises";
import { formatTable } from "../cli/table.ts";
import type { InSync } from "./source/reader.ts";
import type { SourceKind } from "./source/server.ts";

const root = join(import.meta.dirname, "..");
const rounds = 3;
const changes = 500;
const betweenMs = 4;

class Process implements Disposable {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #lines: AsyncIterator<string>;

  constructor(program: string, ...args: readonly string[]) {
    const command = ["--expose-gc", join(root, "bench/source", program), ...args];
    this.#child = spawn(process.execPath, command, { stdio: ["pipe", "pipe", "inherit"] });
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  say(line: string): void {
    this.#child.stdin.write(`${line}\n`);
  }

  async hear<T>(): Promise<T> {
    const { value, done } = await this.#lines.next();
    if (done === true) throw new Error("a process of the benchmark ended");
    return JSON.parse(value) as T;
  }

  [Symbol.dispose](): void {
    // It ends what it has started itself.
    this.#child.stdin.end();
  }
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
const percentile = (values: readonly number[], share: number): number =>
  values.toSorted((a, b) => a - b)[Math.ceil((values.length - 1) * share)] ?? Number.NaN;
const text = (value: number): string => value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0);

interface Measured {
  readonly ours: readonly InSync[];
  readonly whole: readonly InSync[];
  readonly costs: Readonly<Record<"node" | "slice" | "service", number>>;
  readonly latencies: readonly number[];
}

async function measure(kind: SourceKind): Promise<Measured> {
  using server = new Process("server.ts", kind);
  const { url } = await server.hear<{ url: string }>();
  const [ours, whole]: [InSync[], InSync[]] = [[], []];
  for (let round = 0; round < rounds; round++) {
    for (const [how, into] of [
      ["ours", ours],
      ["whole", whole],
    ] as const) {
      using reader = new Process("reader.ts", kind, how, url);
      into.push(await reader.hear<InSync>());
    }
  }
  using reader = new Process("reader.ts", kind, "ours", url);
  await reader.hear<InSync>();
  const ends: Ends = { server, reader };
  const costs = {
    node: await cost("node", ends),
    slice: await cost("slice", ends),
    service: await cost("service", ends),
  };
  return { ours, whole, costs, latencies: await latenciesOf(ends) };
}

interface Ends {
  readonly server: Process;
  readonly reader: Process;
}

/** Milliseconds of the reader's processor for one change of the kind. */
async function cost(kind: string, { server, reader }: Ends): Promise<number> {
  const cpu = async (): Promise<number> => {
    reader.say("");
    return (await reader.hear<{ cpu: number }>()).cpu;
  };
  const before = await cpu();
  for (let i = 0; i < changes; i++) {
    server.say(`${kind} ${1 + i} ${1 + i}`);
    await server.hear();
    await wait(betweenMs);
  }
  await wait(200);
  return ((await cpu()) - before) / changes;
}

/** Milliseconds from a write of a Service to the snapshot that has it. */
async function latenciesOf({ server, reader }: Ends): Promise<readonly number[]> {
  const latencies: number[] = [];
  for (let i = 0; i < 100; i++) {
    server.say(`service 0 ${1000 + i}`);
    const { at } = await server.hear<{ at: number }>();
    const seen = await reader.hear<{ at: number }>();
    latencies.push(seen.at - at);
    await wait(20);
  }
  return latencies;
}

function report(name: string, { ours, whole, costs, latencies }: Measured): void {
  const row = (what: string, field: keyof InSync): string[] => {
    const [a = Number.NaN, b = Number.NaN] = [ours, whole].map((runs) =>
      median(runs.map((run) => run[field])),
    );
    return [what, text(a), text(b), (a / b).toFixed(2)];
  };
  console.log(
    formatTable([
      [`${name.toUpperCase()}, UNTIL IN SYNC`, "FAIRLEAD", "KEPT WHOLE", "RATIO"],
      row("time, ms", "elapsed"),
      row("processor time, ms", "cpu"),
      row("longest block, ms", "longestBlock"),
      row("peak memory, MiB", "peak"),
      row("memory then, MiB", "steady"),
      row("of it kept in the heap, MiB", "heap"),
    ]),
  );
  console.log(
    formatTable([
      ["ONE CHANGE", "PROCESSOR TIME, MS"],
      ["of a Node: nothing that is used", text(costs.node)],
      ["an EndpointSlice", text(costs.slice)],
      ["a Service", text(costs.service)],
    ]),
  );
  console.log(
    `from the write to the snapshot: ${text(median(latencies))} ms (p99 ${text(percentile(latencies, 0.99))}); ${rounds} rounds in turn, ${changes} changes, ${betweenMs} ms apart\n`,
  );
}

const results: Partial<Record<SourceKind, Measured>> = {};
for (const kind of ["kubernetes", "etcd"] as const) {
  const measured = await measure(kind);
  results[kind] = measured;
  report(kind, measured);
}
mkdirSync(join(root, "bench/results"), { recursive: true });
writeFileSync(
  join(root, "bench/results/source.json"),
  `${JSON.stringify({ rounds, ...results })}\n`,
);
