// What really passes the underlay, seen where the nodes' cables end in the router.
import { readFileSync } from "node:fs";
import { cidrContains, parseIp } from "../../core/address.ts";
import type { Node } from "../../core/cluster/model.ts";
import type { Member } from "../../cli/lab/member.ts";
import { logPath, startProcess } from "../../cli/lab/member-process.ts";
import { endProcesses } from "../../cli/lab/process.ts";
import type { Topology } from "../../cli/lab/topology.ts";
import { waitFor } from "../../cli/lab/wait.ts";
import { formatTable } from "../../cli/table.ts";
import type { Claim } from "./claim.ts";

/** A packet between two pods' addresses, as it entered the router. */
export interface SeenPacket {
  /** Inside VXLAN, or as it is. */
  readonly isVxlan: boolean;
  /** Node names: by the outer addresses of VXLAN, by pod CIDR otherwise. */
  readonly from: string;
  readonly to: string;
  /** Of the pods' packet. */
  readonly source: string;
  readonly destination: string;
}

const name = "capture";
const vxlanPort = 4789;

/** Captures until `stop`, which gives the packets. */
export async function startCapture(
  router: Member,
  nodes: readonly Node[],
  topology: Topology,
  signal: AbortSignal,
): Promise<{ stop(): Promise<readonly SeenPacket[]> }> {
  const podNetworks = nodes.flatMap((node) => node.podCidrs).map((cidr) => `net ${cidr}`);
  const filter = `udp port ${vxlanPort} or ${podNetworks.join(" or ")}`;
  const tcpdump = startProcess(router, {
    name,
    command: ["tcpdump", "-nn", "-l", "-B", "8192", "-i", "any", filter],
  });
  const log = (): string => readFileSync(logPath(router, name), "utf8");
  await waitFor(() => (log().includes("listening on any") ? true : undefined), {
    what: "tcpdump did not start",
    deadlineMs: 5000,
    signal,
  });
  return {
    stop: async () => {
      await quietLog(log, signal);
      await endProcesses([tcpdump], signal);
      return readCapture(log(), nodes, topology);
    },
  };
}

/** tcpdump drops what it has not yet read when it is ended. */
async function quietLog(log: () => string, signal: AbortSignal): Promise<void> {
  let length = -1;
  await waitFor(
    () => {
      const before = length;
      length = log().length;
      return length === before ? true : undefined;
    },
    { what: "the capture did not settle", deadlineMs: 2000, signal },
  );
}

/**
 * The packets of tcpdump's text. Each is counted once, where it enters the router from its node's
 * cable (`In` when routed, `P` when bridged); an encapsulated one is two lines, the second of them
 * the pods' packet.
 */
export function readCapture(
  text: string,
  nodes: readonly Node[],
  { nodes: placed }: Topology,
): SeenPacket[] {
  const ports = new Set(placed.map(({ port }) => port));
  const nodeByAddress = new Map<string, string>(placed.map((node) => [node.address, node.name]));
  const nodeOfPod = (address: string): string => {
    const ip = parseIp(address);
    const owner = nodes.find((node) =>
      node.podCidrs.some((cidr) => ip !== undefined && cidrContains(cidr, ip)),
    );
    return owner?.name ?? address;
  };
  const lines = text.split("\n");
  return lines.flatMap((line, index): SeenPacket[] => {
    const [, port = "", outer = ""] = /^\S+ (\S+)\s+(?:In|P)\s+(IP .*)$/.exec(line) ?? [];
    if (!ports.has(port)) return [];
    const isVxlan = outer.includes(": VXLAN, ");
    const pair = addressesOf(outer);
    const inner = isVxlan ? addressesOf(lines[index + 1] ?? "") : pair;
    if (pair === undefined || inner === undefined) return [];
    const nodeOf = isVxlan ? (address: string) => nodeByAddress.get(address) ?? address : nodeOfPod;
    const [source, destination] = inner;
    return [{ isVxlan, from: nodeOf(pair[0]), to: nodeOf(pair[1]), source, destination }];
  });
}

/** `IP 10.0.0.1.80 > 10.0.0.2.999: …` or without ports. */
function addressesOf(line: string): readonly [string, string] | undefined {
  const address = String.raw`(\d+\.\d+\.\d+\.\d+)(?:\.\d+)?`;
  const match = new RegExp(`IP ${address} > ${address}:`).exec(line);
  return match?.[1] === undefined || match[2] === undefined ? undefined : [match[1], match[2]];
}

export interface PairCount {
  readonly from: string;
  readonly to: string;
  readonly vxlan: number;
  readonly plain: number;
}

/** Packets by ordered pair of nodes, every pair of the topology included. */
export const countByPair = (
  packets: readonly SeenPacket[],
  { nodes }: Topology,
): readonly PairCount[] =>
  nodes.flatMap((from) =>
    nodes
      .filter((to) => to !== from)
      .map((to) => {
        const between = packets.filter((p) => p.from === from.name && p.to === to.name);
        const vxlan = between.filter(({ isVxlan }) => isVxlan).length;
        return { from: from.name, to: to.name, vxlan, plain: between.length - vxlan };
      }),
  );

/**
 * Between nodes of one link packets go as they are, between others as VXLAN, and nothing the other
 * way: what backend "auto" promises.
 */
export function claimPaths(packets: readonly SeenPacket[], topology: Topology): Claim[] {
  const linkOf = (name: string): number | undefined =>
    topology.nodes.find((node) => node.name === name)?.link;
  const pairs = countByPair(packets, topology);
  const onLink = pairs.filter(({ from, to }) => linkOf(from) === linkOf(to));
  const routed = pairs.filter(({ from, to }) => linkOf(from) !== linkOf(to));
  const sum = (counts: readonly PairCount[], kind: "vxlan" | "plain"): number =>
    counts.reduce((total, pair) => total + pair[kind], 0);
  const seenOf = (counts: readonly PairCount[]): string =>
    `${sum(counts, "vxlan")} as VXLAN, ${sum(counts, "plain")} as they are, ${counts.length} pairs of nodes`;
  return [
    {
      text: "packets between nodes on both sides of the router travel as VXLAN (capture)",
      seen: seenOf(routed),
      isTrue: routed.length > 0 && routed.every(({ vxlan, plain }) => vxlan > 0 && plain === 0),
    },
    {
      text: "packets between nodes on one link travel as they are (capture)",
      seen: seenOf(onLink),
      isTrue: onLink.length > 0 && onLink.every(({ vxlan, plain }) => vxlan === 0 && plain > 0),
    },
  ];
}

export const formatPairs = (pairs: readonly PairCount[]): string =>
  formatTable(
    [
      ["FROM", "TO", "AS VXLAN", "AS THEY ARE"],
      ...pairs.map(({ from, to, vxlan, plain }) => [from, to, String(vxlan), String(plain)]),
    ],
    "  ",
  );
