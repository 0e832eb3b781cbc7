// dnsperf beside the servers: what it asks, and what it says.
import { spawnSync } from "node:child_process";
import type { Contender, Setting } from "./contenders.ts";

export interface Throughput {
  readonly perSecond: number;
  readonly lost: number;
  /** Of the server, microseconds for one query. */
  readonly cpu: number;
}

export interface Latency {
  /** Microseconds. */
  readonly p50: number;
  readonly p99: number;
  readonly lost: number;
}

const clientProcessor = "1";

function dnsperf({ namespace }: Setting, port: number, options: readonly string[]): string {
  const words = ["-s", "127.0.0.1", "-p", String(port), "-T", "1", "-t", "1", ...options];
  const command = ["netns", "exec", namespace.name, "taskset", "-c", clientProcessor, "dnsperf"];
  const { status, stdout, stderr } = spawnSync("ip", [...command, ...words], {
    encoding: "utf8",
    maxBuffer: 1 << 28,
  });
  if (status !== 0) throw new Error(`dnsperf failed: ${stderr}${stdout.slice(-1000)}`);
  return stdout;
}

const lostOf = (said: string): number => Number(/Queries lost:\s+(\d+)/.exec(said)?.[1]);

export interface Asking {
  /** A file, one query a line. */
  readonly queries: string;
  readonly seconds: number;
  /** Default: any of the machine's addresses. */
  readonly from?: string | undefined;
}

const fromWords = (from: string | undefined): readonly string[] =>
  from === undefined ? [] : ["-a", from];

/** As fast as both can, 200 questions under way. */
export function measureThroughput(
  server: Contender,
  setting: Setting,
  { queries, seconds, from }: Asking,
): Throughput {
  const before = server.cpu();
  const options = [
    "-d",
    queries,
    "-l",
    String(seconds),
    "-c",
    "8",
    "-q",
    "200",
    ...fromWords(from),
  ];
  const said = dnsperf(setting, server.port, options);
  const cpu = server.cpu() - before;
  const completed = Number(/Queries completed:\s+(\d+)/.exec(said)?.[1]);
  return {
    perSecond: Number(/Queries per second:\s+([\d.]+)/.exec(said)?.[1]),
    lost: lostOf(said),
    cpu: (cpu * 1e6) / completed,
  };
}

/** All of the file, once. */
export function ask(
  server: Contender,
  setting: Setting,
  { queries, from }: Omit<Asking, "seconds">,
): void {
  const options = ["-d", queries, "-n", "1", "-c", "8", "-q", "200", ...fromWords(from)];
  dnsperf(setting, server.port, options);
}

/** At 10,000 questions a second. */
export function measureLatency(
  server: Contender,
  setting: Setting,
  { queries, seconds }: Asking,
): Latency {
  const options = ["-d", queries, "-l", String(seconds), "-c", "8", "-Q", "10000", "-v"];
  const said = dnsperf(setting, server.port, options);
  const times = [...said.matchAll(/^> .* (\d+\.\d+)$/gm)].map(([, time]) => Number(time) * 1e6);
  const sorted = times.toSorted((a, b) => a - b);
  const at = (share: number): number =>
    sorted[Math.floor((sorted.length - 1) * share)] ?? Number.NaN;
  return { p50: at(0.5), p99: at(0.99), lost: lostOf(said) };
}
