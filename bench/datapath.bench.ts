// What a packet's way costs from pod to pod, beside the reference bridge plugin, flannel's way between
// nodes, and no plugin at all: interleaved in one run, in network namespaces of its own.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { formatTable } from "../cli/table.ts";
import type { TestNamespace } from "../test/support/netns.ts";
import { shareNiceness } from "./cni/niceness.ts";
import { makeContenders, names } from "./datapath/contenders.ts";
import {
  compileTraffic,
  serveTraffic,
  type Traffic,
  type TrafficKind,
  type TrafficServer,
} from "./datapath/traffic.ts";

/** One figure a round. */
interface Series {
  readonly name: string;
  readonly place: string;
  readonly rr: Traffic[];
  readonly crr: Traffic[];
  readonly stream: Traffic[];
}

// Many short rounds: a connection keeps for its life what memory it got, and which is quicker is chance.
const rounds = 25;
const durations: Readonly<Record<TrafficKind, number>> = { rr: 200, crr: 200, stream: 150 };
const kinds = ["rr", "crr", "stream"] as const;

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) / 2)] ?? Number.NaN;
const delay = ({ p50 }: Traffic): number => p50;
/** Of what most blocks took: one that had to wait for other programs of the machine says nothing. */
const gigabits = ({ octets, p50 }: Traffic): number => (octets * 8) / (p50 * 1000);
const cpuSecondsPerGigabyte = ({ octets, cpu }: Traffic): number => cpu / octets;
const text = (value: number): string => value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0);

const { series, trackedTunnels, octetsPerPacket } = await measure();
const goals = goalsOf();
report();
const results = join(import.meta.dirname, "results");
mkdirSync(results, { recursive: true });
writeFileSync(join(results, "datapath.json"), `${JSON.stringify({ rounds, goals, series })}\n`);

interface Measured {
  readonly series: readonly Series[];
  readonly trackedTunnels: number;
  /** What the pod received at once, of a stream that came in frames of the link's size. */
  readonly octetsPerPacket: number;
}

async function measure(): Promise<Measured> {
  await using stack = new AsyncDisposableStack();
  const directory = mkdtempSync(join(tmpdir(), "fairlead-bench-"));
  stack.defer(() => rmSync(directory, { recursive: true, force: true }));
  const program = join(directory, "traffic");
  compileTraffic(program);
  stack.use(shareNiceness("self"));
  const { all: contenders, trackedTunnels } = await makeContenders(stack);
  const servers = new Map<string, TrafficServer>();
  for (const { server } of contenders) {
    if (servers.has(server.name)) continue;
    servers.set(server.name, stack.use(await serveTraffic(program, server)));
  }
  const all = contenders.map(({ name, place }): Series => ({
    name,
    place,
    rr: [],
    crr: [],
    stream: [],
  }));
  for (let round = 0; round < rounds; round++) {
    for (const kind of kinds) {
      for (const [index, { client, server, address }] of contenders.entries()) {
        const traffic = servers.get(server.name)?.measure(client, address, kind, durations[kind]);
        if (traffic !== undefined) all[index]?.[kind].push(traffic);
      }
    }
  }
  const cut = contenders.find(({ name }) => name === names.cutVxlan);
  if (cut === undefined) throw new Error(`There is no "${names.cutVxlan}"`);
  const before = receivedBy(cut.server);
  servers.get(cut.server.name)?.measure(cut.client, cut.address, "stream", durations.stream);
  const after = receivedBy(cut.server);
  return {
    series: all,
    trackedTunnels: trackedTunnels(),
    octetsPerPacket: (after.octets - before.octets) / (after.packets - before.packets),
  };
}

function receivedBy(pod: TestNamespace): { readonly octets: number; readonly packets: number } {
  const count = (name: string): number =>
    Number(pod.run("cat", `/sys/class/net/eth0/statistics/${name}`));
  return { octets: count("rx_bytes"), packets: count("rx_packets") };
}

function of(name: string): Series {
  const found = series.find((one) => one.name === name);
  if (found === undefined) throw new Error(`Nothing was measured of "${name}"`);
  return found;
}

/** The median of the rounds' ratios: the machine is as busy for one as for the other within a round. */
function ratio(
  kind: TrafficKind,
  figure: (traffic: Traffic) => number,
  [name, reference]: readonly [string, string],
): number {
  const base = of(reference)[kind].map(figure);
  return median(of(name)[kind].map((one, round) => figure(one) / (base[round] ?? Number.NaN)));
}

interface Goal {
  readonly what: string;
  readonly limit: number;
  readonly value: number;
  readonly isReached: boolean;
}

/** What the project holds itself to. */
function goalsOf(): readonly Goal[] {
  const atMost = (what: string, limit: number, value: number): Goal => ({
    what: `${what}, at most`,
    limit,
    value,
    isReached: value <= limit,
  });
  const atLeast = (what: string, limit: number, value: number): Goal => ({
    what: `${what}, at least`,
    limit,
    value,
    isReached: value >= limit,
  });
  const { same, bridge, vxlan, flannel } = names;
  return [
    atMost("same node: request, of the bridge plugin's", 1, ratio("rr", delay, [same, bridge])),
    atMost("same node: connection, of the bridge plugin's", 1, ratio("crr", delay, [same, bridge])),
    atMost("VXLAN: request, of flannel's", 0.92, ratio("rr", delay, [vxlan, flannel])),
    atLeast(
      "VXLAN: octets a second, of flannel's",
      1.08,
      ratio("stream", gigabits, [vxlan, flannel]),
    ),
    atMost("VXLAN: flows of the tunnel tracked", 0, trackedTunnels),
    // Two frames of 1450 octets at least: put together again before they pass rules and routes.
    atLeast("VXLAN, frames cut: octets in a packet that the pod gets", 2900, octetsPerPacket),
  ];
}

function report(): void {
  for (const [place, reference] of [
    ["same node", names.bridge],
    ["cross node", names.flannel],
  ] as const) {
    console.log(
      formatTable([
        [
          place.toUpperCase(),
          "REQUEST µS P50",
          "P99",
          "RATIO",
          "CONNECTION µS P50",
          "P99",
          "RATIO",
          "GBIT/S",
          "RATIO",
          "CPU S/GB",
          "RATIO",
        ],
        ...series
          .filter((one) => one.place === place)
          .map(({ name, rr, crr, stream }) => [
            name,
            text(median(rr.map(({ p50 }) => p50))),
            text(median(rr.map(({ p99 }) => p99))),
            text(ratio("rr", delay, [name, reference])),
            text(median(crr.map(({ p50 }) => p50))),
            text(median(crr.map(({ p99 }) => p99))),
            text(ratio("crr", delay, [name, reference])),
            text(median(stream.map(gigabits))),
            text(ratio("stream", gigabits, [name, reference])),
            text(median(stream.map(cpuSecondsPerGigabyte))),
            text(ratio("stream", cpuSecondsPerGigabyte, [name, reference])),
          ]),
      ]),
    );
  }
  console.log(
    formatTable([
      ["GOAL", "LIMIT", "MEASURED", ""],
      ...goals.map(({ what, limit, value, isReached }) => [
        what,
        text(limit),
        text(value),
        isReached ? "reached" : "missed",
      ]),
    ]),
  );
  console.log(
    `${rounds} rounds, each contender in turn, both ends on one processor; ratio: to ${names.bridge}, to ${names.flannel}`,
  );
}
