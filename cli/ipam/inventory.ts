// Who has which addresses on this node, and how full it is. Reads, and changes nothing: the daemon's
// word where one runs, the lease files in any case.
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Ip } from "../../core/address.ts";
import type { BootClock, Clock } from "../../core/clock.ts";
import { defaultQuarantineSeconds, type NodeFacts } from "../../core/node-facts.ts";
import type { Paths } from "../../core/paths.ts";
import { defaultPool } from "../../core/pool.ts";
import type { PoolStatus, StatusReport } from "../../core/status.ts";
import { poolOffers } from "../../ipam/assign.ts";
import { inspectNetwork, networksIn } from "../../ipam/inspect.ts";
import type { DetailedLease, RestingAddress } from "../../ipam/ipam.ts";
import { type RangeSet, canonicalSets, rangeOf, reservedCount } from "../../ipam/range.ts";
import { usageOf } from "../../ipam/reservation.ts";
import { readNodeFacts } from "../../kernel/node-facts.ts";
import { readStatus } from "../status.ts";

export interface ShowPlaces {
  readonly paths: Pick<Paths, "leases" | "leaseJournals" | "nodeFacts" | "bootId" | "statusSocket">;
  readonly clock: Clock;
  readonly boot: BootClock;
}

/** One pool and family of the node, with what is needed to draw it. */
export interface ShownPool extends PoolStatus {
  readonly set: RangeSet;
  /** Held, and reserved since: in `reserved`, not in `held`. */
  readonly heldBesides: number;
}

export interface ShownNetwork {
  readonly network: string;
  readonly directory: string;
  /** Of the daemon's network only: of another the ranges are not known. */
  readonly pools: readonly ShownPool[];
  readonly leases: readonly DetailedLease[];
  /** Held, though nobody knows by whom. */
  readonly unreadable: readonly Ip[];
  readonly quarantined: readonly RestingAddress[];
}

export interface Shown {
  readonly networks: readonly ShownNetwork[];
  /** A daemon answered: its counts and warnings are in. */
  readonly isDaemonRunning: boolean;
  readonly problems: readonly string[];
}

/** @param dataDir of networks that keep their leases elsewhere. */
export async function collect(
  dataDir: string | undefined,
  { paths, clock, boot }: ShowPlaces,
  signal: AbortSignal,
): Promise<Shown> {
  if (dataDir !== undefined && !existsSync(dataDir)) {
    throw new Error(`Cannot read the leases in ${dataDir}: there is no such directory`);
  }
  const isUsual = dataDir === undefined || dataDir === paths.leases;
  const report = isUsual ? await reportOf(paths.statusSocket, signal) : undefined;
  const { facts, problem } = isUsual ? factsOf(paths) : {};
  const root = dataDir ?? paths.leases;
  const names = networksIn(root);
  const own = facts?.network;
  const ordered = own === undefined ? names : [own, ...names.filter((name) => name !== own)];
  const networks: ShownNetwork[] = [];
  for (const network of ordered) {
    const memory = await inspectNetwork(network, {
      dataDir: root,
      journals: isUsual ? paths.leaseJournals : join(root, ".fairlead/leases"),
      clock,
      boot,
      quarantineMs: 1000 * (facts?.quarantineSeconds ?? defaultQuarantineSeconds),
      signal,
    });
    const { leases, unreadable, resting } = memory.inventory();
    const pools = facts === undefined || network !== own ? [] : poolsOf(facts);
    networks.push({
      network,
      directory: join(root, network),
      pools: pools.map(({ name, set }) => poolStatus(name, set, usageOf(set, memory), report)),
      leases,
      unreadable,
      quarantined: resting,
    });
  }
  const ofDaemon = (report?.problems ?? []).filter(({ area }) => area === "ipam");
  return {
    networks,
    isDaemonRunning: report !== undefined,
    problems: [
      ...ofDaemon.map(({ message }) => message),
      ...(problem === undefined ? [] : [problem]),
    ],
  };
}

/** The pool that an address is of. */
export const poolOf = (pools: readonly ShownPool[], address: Ip): string | undefined =>
  pools.find(({ set }) => rangeOf(set, address) !== undefined)?.pool;

async function reportOf(socket: string, signal: AbortSignal): Promise<StatusReport | undefined> {
  try {
    return await readStatus(socket, signal);
  } catch (error) {
    if (signal.aborted) throw error;
    return undefined;
  }
}

function factsOf(paths: ShowPlaces["paths"]): {
  readonly facts?: NodeFacts;
  readonly problem?: string;
} {
  try {
    return { facts: readNodeFacts(paths) };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return { problem: `The node's blocks are not known: ${why}` };
  }
}

const poolsOf = (facts: NodeFacts): readonly { readonly name: string; readonly set: RangeSet }[] =>
  poolOffers(facts).flatMap((offer) =>
    canonicalSets(offer).map((set) => ({ name: offer.pool ?? defaultPool, set })),
  );

function poolStatus(
  name: string,
  set: RangeSet,
  { size, held, heldBesides, resting }: ReturnType<typeof usageOf>,
  report: StatusReport | undefined,
): ShownPool {
  const family = set[0]?.family ?? 4;
  const told = report?.pools.find((pool) => pool.pool === name && pool.family === family);
  const seen = {
    pool: name,
    family,
    podCidrs: set.map(({ subnet }) => subnet),
    size: Number(size),
    held,
    quarantined: resting,
    reserved: Number(reservedCount(set)),
  };
  // The daemon also knows what connection tracking still has; the files what came since it looked.
  return { ...seen, quarantined: Math.max(resting, told?.quarantined ?? 0), set, heldBesides };
}
