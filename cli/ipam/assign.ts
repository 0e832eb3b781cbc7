import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type Cidr, cidrContains } from "../../core/address.ts";
import type { Node } from "../../core/cluster/model.ts";
import { ConfigError, hasErrno } from "../../core/error.ts";
import { defaultPool } from "../../core/pool.ts";
import { listWords } from "../../core/schema.ts";
import {
  loadConfig,
  manifestDirectory,
  type NetworkConfig,
  type PoolConfig,
} from "../../daemon/config/config.ts";
import { replaceFile } from "../../daemon/files/replace-file.ts";
import { systemClock } from "../../kernel/clock.ts";
import { openLock } from "../../kernel/flock.ts";
import type { FileLock } from "../../kernel/kernel.ts";
import { type CliContext, UsageError } from "../context.ts";
import { formatTable } from "../table.ts";
import { addPodCidrs, formatNode, type NodeManifest, readNodes } from "./manifests.ts";
import { parseNewNode, refuseConfigured } from "./new-node.ts";
import { type Assignment, type AssignmentRequest, planAssignment } from "./plan-assignment.ts";

export interface AssignOptions {
  readonly cluster?: string;
  readonly config?: string;
  readonly node?: string;
  readonly pool?: string;
  readonly count?: string;
  readonly addNode?: string;
  readonly address: readonly string[];
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

/** Others write first, each in less than a second, but on a machine that is busy. */
const lockDeadlineMs = 30_000;
const mostBlocks = 1024;

/** `fairlead ipam assign`: writes what Nodes lack into their manifests, and prints what it was. */
export async function assign(options: AssignOptions, context: CliContext): Promise<void> {
  const count = parseCount(options.count);
  const newNode = parseNewNode(options);
  const config = loadConfig(options.config);
  const { cluster, network } = config;
  if (newNode !== undefined) refuseConfigured(newNode, config);
  const directory = options.cluster ?? manifestDirectory(cluster);
  const isDryRun = options.dryRun ?? false;
  using _lock = isDryRun ? undefined : await lock(directory, context.signal);
  const manifests = [...readNodes(directory)];
  if (newNode !== undefined) manifests.push(placeOf(newNode, directory, manifests));
  const only = newNode?.name ?? options.node;
  if (only !== undefined && !manifests.some(({ node }) => node.name === only)) {
    throw new Error(`Cannot find Node ${only} in ${directory}: --add-node makes one`);
  }
  const assignments = planAssignment({
    ...poolOf(network, options.pool),
    nodes: manifests.map(({ node }) => node),
    ...(only === undefined ? {} : { only }),
    ...(count === undefined ? {} : { count }),
  });
  const placed = assignments.map((assignment) => place(assignment, manifests));
  if (!isDryRun) write(placed, newNode);
  context.stdout(
    options.json === true ? formatJson(placed, isDryRun) : formatText(placed, directory, isDryRun),
  );
}

/** How the pool is divided, and which pod CIDRs are of it: whatever is of no other pool is of the default. */
function poolOf(
  { podCidrs, nodePrefixLength, pools }: NetworkConfig,
  name = defaultPool,
): Pick<AssignmentRequest, "plan" | "isOfPool"> {
  const isIn = (cidr: Cidr, { cidrs }: PoolConfig): boolean =>
    cidrs.some((around) => cidrContains(around, cidr));
  if (name === defaultPool) {
    return {
      plan: { clusterCidrs: podCidrs, nodePrefixLength },
      isOfPool: (cidr) => !pools.some((pool) => isIn(cidr, pool)),
    };
  }
  const pool = pools.find((one) => one.name === name);
  if (pool === undefined) {
    const known = [defaultPool, ...pools.map((one) => one.name)];
    throw new UsageError(`Cannot use --pool "${name}": expected ${listWords(known, "or")}`);
  }
  return {
    plan: { clusterCidrs: pool.cidrs, nodePrefixLength: pool.nodePrefixLength },
    isOfPool: (cidr) => isIn(cidr, pool),
  };
}

function parseCount(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const count = Number(text);
  if (Number.isInteger(count) && count >= 1 && count <= mostBlocks) return count;
  throw new UsageError(
    `Cannot use --count "${text}": expected a whole number from 1 to ${mostBlocks}`,
  );
}

function placeOf(node: Node, directory: string, known: readonly NodeManifest[]): NodeManifest {
  const same = known.find((other) => other.node.name === node.name);
  if (same !== undefined) throw new Error(`Cannot add Node ${node.name}: ${same.path} has it`);
  const owner = known.find((other) =>
    other.node.addresses.some((ip) => node.addresses.includes(ip)),
  );
  if (owner !== undefined) {
    throw new Error(
      `Cannot add Node ${node.name} with ${node.addresses.join(", ")}: Node ${owner.node.name} has that address`,
    );
  }
  const path = join(directory, `${node.name}.yaml`);
  if (existsSync(path)) throw new Error(`Cannot add Node ${node.name}: ${path} is there already`);
  return { path, node };
}

type Placed = Assignment & NodeManifest;

function place(assignment: Assignment, manifests: readonly NodeManifest[]): Placed {
  const { path = "" } = manifests.find(({ node }) => node === assignment.node) ?? {};
  return { ...assignment, path };
}

// Each file at once. Between two files others may be killed: what is missing then, the next run adds.
function write(placed: readonly Placed[], newNode: Node | undefined): void {
  for (const path of new Set(placed.map((one) => one.path))) {
    const here = placed.filter((one) => one.path === path);
    const [{ node, podCidrs } = { node: undefined, podCidrs: [] }] = here;
    if (node !== undefined && node === newNode) {
      replaceFile(path, formatNode({ ...node, podCidrs }), 0o644);
    } else addPodCidrs(path, new Map(here.map((one) => [one.node.name, one.podCidrs])));
  }
}

/** Against another assign: the daemon only reads. The file's name is one that sources pass over. */
async function lock(directory: string, signal: AbortSignal): Promise<FileLock> {
  const path = join(directory, ".fairlead-assign.lock");
  const wait = { deadlineMs: lockDeadlineMs, clock: systemClock, signal };
  try {
    const held = await openLock(path, "exclusive", wait);
    return {
      path,
      [Symbol.dispose]: () => {
        rmSync(path, { force: true });
        held[Symbol.dispose]();
      },
    };
  } catch (cause) {
    if (hasErrno(cause, "ETIMEDOUT")) {
      throw new Error(`Cannot assign in ${directory}: another assign is at work there`, { cause });
    }
    throw new ConfigError(directory, "Cannot write into the directory of the manifests", { cause });
  }
}

function formatText(placed: readonly Placed[], directory: string, isDryRun: boolean): string {
  if (placed.length === 0) return `Every Node in ${directory} has its pod CIDRs\n`;
  const rows = placed.map(({ node, podCidrs, path }) => [node.name, podCidrs.join(" "), path]);
  const table = formatTable([["NODE", "ASSIGNED", "FILE"], ...rows]);
  return isDryRun ? `${table}Nothing was written (--dry-run)\n` : table;
}

const formatJson = (placed: readonly Placed[], isDryRun: boolean): string =>
  `${JSON.stringify(
    {
      assigned: placed.map(({ node, podCidrs, path }) => ({
        node: node.name,
        podCidrs,
        file: path,
      })),
      isDryRun,
    },
    null,
    2,
  )}\n`;
