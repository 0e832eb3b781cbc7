// What `fairlead ipam show` prints for people.
import { compareIps } from "../../core/address.ts";
import type { DetailedLease } from "../../ipam/ipam.ts";
import { formatCount } from "../status.ts";
import { formatTable, type Rows } from "../table.ts";
import { drawBlock, legend } from "./picture.ts";
import { poolOf, type Shown, type ShownNetwork, type ShownPool } from "./inventory.ts";

const indent = "  ";

export function formatInventory(shown: Shown, columns: number): string {
  const parts = shown.networks.map((network) => formatNetwork(network, columns));
  const drawn = shown.networks.some(({ pools }) => pools.length > 0);
  return [
    ...(parts.length === 0 ? ["No network has leases on this node.\n"] : parts),
    ...(drawn ? [`${legend}\n`] : []),
    ...shown.problems.map((problem) => `problem: ${problem}\n`),
  ].join("\n");
}

function formatNetwork(shown: ShownNetwork, columns: number): string {
  const { network, directory, pools, leases, unreadable, quarantined } = shown;
  const counts = [
    `${leases.length} held`,
    ...(unreadable.length === 0 ? [] : [`${unreadable.length} unreadable`]),
    `${quarantined.length} in quarantine`,
  ].join(", ");
  const pooled: Rows = [
    ["POOL", "FAMILY", "SIZE", "HELD", "QUARANTINE", "FREE", "RESERVED"],
    ...pools.map((pool) => [
      pool.pool,
      `IPv${pool.family}`,
      formatCount(pool.size),
      `${pool.held} (${percent(pool)} %)`,
      String(pool.quarantined),
      formatCount(Math.max(0, pool.size - pool.held - pool.quarantined)),
      `${formatCount(pool.reserved)}${pool.heldBesides === 0 ? "" : ` (${pool.heldBesides} held)`}`,
    ]),
  ];
  return [
    `network ${network}, ${directory}: ${counts}\n`,
    pools.length === 0 ? "" : `\n${formatTable(pooled, indent)}`,
    ...pools.flatMap((pool) => formatBlocks(pool, shown, columns)),
    leases.length + unreadable.length === 0
      ? ""
      : `\n${formatTable([...leaseRows(leases, pools), ...unreadableRows(shown)], indent)}`,
  ].join("");
}

const percent = ({ held, size }: ShownPool): number =>
  size === 0 ? 100 : Math.floor((held * 100) / size);

function formatBlocks(
  { pool, set }: ShownPool,
  { leases, unreadable, quarantined }: ShownNetwork,
  columns: number,
): readonly string[] {
  return set.map((range) => {
    const { perCharacter, lines } = drawBlock({
      range,
      held: [...leases.map(({ address }) => address), ...unreadable],
      quarantined: quarantined.map(({ address }) => address),
      width: columns - indent.length,
    });
    const scale = perCharacter === 1n ? "" : `, ${formatCount(Number(perCharacter))} a character`;
    const drawn = lines.map((line) => `${indent}${line}\n`).join("");
    return `\n${indent}${range.subnet} of ${pool}${scale}\n${drawn}`;
  });
}

/** By pod; what has none, by container. */
function leaseRows(leases: readonly DetailedLease[], pools: readonly ShownPool[]): Rows {
  const sorted = [...leases].sort(
    (a, b) => compareText(holder(a), holder(b)) || compareIps(a.address, b.address),
  );
  return [
    ["POD", "ADDRESS", "POOL", "CONTAINER", "INTERFACE", "SINCE"],
    ...sorted.map((lease) => [
      podOf(lease) ?? "-",
      lease.address,
      poolOf(pools, lease.address) ?? "-",
      shorten(lease.containerId),
      lease.ifName || "-",
      lease.details === undefined ? "-" : since(lease.details.given.wallMs),
    ]),
  ];
}

// Not a file, or not one that says whose the address is: nobody gets it.
const unreadableRows = ({ unreadable, pools }: ShownNetwork): Rows =>
  unreadable.map((address) => [
    "-",
    address,
    poolOf(pools, address) ?? "-",
    "unreadable",
    "-",
    "-",
  ]);

function podOf({ details }: DetailedLease): string | undefined {
  const pod = details?.pod;
  return pod && `${pod.namespace}/${pod.name}`;
}

// Pods first.
const holder = (lease: DetailedLease): string => {
  const pod = podOf(lease);
  return pod === undefined ? `1 ${lease.containerId}` : `0 ${pod}`;
};

const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

// Runtimes' ids have 64 hex digits, of which they show 12 or 13.
const shorten = (id: string): string => (/^[0-9a-f]{64}$/.test(id) ? id.slice(0, 13) : id);

const since = (wallMs: number): string => new Date(wallMs).toISOString().replace(/\.\d+/, "");
