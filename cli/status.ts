import { createConnection } from "node:net";
import { text } from "node:stream/consumers";
import { hasErrno } from "../core/error.ts";
import { paths } from "../core/paths.ts";
import type { DnsStatus, PoolStatus, StatusReport, SweepStatus } from "../core/status.ts";
import { type CliContext, exitStatus, SilentFailure } from "./context.ts";
import { requireRoot } from "./root.ts";
import { formatTable, type Rows } from "./table.ts";

const deadlineMs = 3000;

/** `fairlead status`: prints the daemon's report. Fails when there is no daemon or it is not ready. */
export async function printStatus(
  { isJson }: { readonly isJson: boolean },
  context: CliContext,
): Promise<void> {
  const report = await readStatus(paths.statusSocket, context.signal);
  context.stdout(isJson ? `${JSON.stringify(report, null, 2)}\n` : formatStatus(report));
  if (!report.isReady) throw new SilentFailure(exitStatus.failed);
}

/** One connection, one JSON object. Throws, saying why, when no daemon answers in time. */
export async function readStatus(socketPath: string, signal: AbortSignal): Promise<StatusReport> {
  const deadline = AbortSignal.timeout(deadlineMs);
  const socket = createConnection({ path: socketPath });
  const stop = (): void => {
    socket.destroy(new Error(deadline.aborted ? `no answer in ${deadlineMs} ms` : "interrupted"));
  };
  const either = AbortSignal.any([deadline, signal]);
  either.addEventListener("abort", stop, { once: true });
  try {
    const report: StatusReport = JSON.parse(await text(socket));
    return report;
  } catch (cause) {
    if (hasErrno(cause, "ENOENT", "ECONNREFUSED")) {
      throw new Error(`The daemon is not running: nobody listens at ${socketPath}`, { cause });
    }
    if (hasErrno(cause, "EACCES")) requireRoot("ask the daemon");
    throw new Error(`Cannot read the status of the daemon at ${socketPath}`, { cause });
  } finally {
    either.removeEventListener("abort", stop);
    socket.destroy();
  }
}

/** The report for people. */
export function formatStatus(report: StatusReport): string {
  const { node, source, reconcile, dns } = report;
  const facts: Rows = [
    [
      "node",
      `${node.name} (fairlead ${report.version}, up ${formatSeconds(report.uptimeSeconds)})`,
    ],
    ["ready", report.isReady ? "yes" : "NO"],
    ["network", `${node.network}: ${listOr(node.podCidrs, "no pod CIDR yet")}`],
    [
      "underlay",
      `${listOr(node.addresses, "no address yet")} on ${node.interface ?? "no interface yet"}`,
    ],
    [
      "backend",
      `${node.backend}, VNI ${node.vni}, port ${node.port}, MTU ${node.mtu ?? "unknown"}`,
    ],
    [
      "source",
      `${source.kind} ${source.location}, revision ${source.revision}, ${source.isInSync ? "in sync" : "NOT in sync"}`,
    ],
    [
      "reconcile",
      `${reconcile.passes} passes, ${reconcile.repairs} repairs, ${reconcile.failures} failures${reconcile.lastMs === undefined ? "" : `, last ${reconcile.lastMs.toFixed(1)} ms at ${reconcile.lastAt ?? "?"}`}`,
    ],
    ...report.pools.map((pool) => ["addresses", formatPool(pool)]),
    ["attachments", String(report.attachments)],
    ["forgotten", formatSweep(report.sweep)],
    [
      "dns",
      dns.isEnabled
        ? `${dns.domain} on ${listOr(dns.addresses, "no address")}, upstreams ${listOr(dns.upstreams, "none")}`
        : "off",
    ],
    ...formatAhead(dns.ahead),
    ...formatCache(dns.counters),
  ];
  const peers: Rows = [
    ["PEER", "POD CIDRS", "ADDRESSES", "PATH"],
    ...report.peers.map((peer) => [
      peer.name,
      peer.podCidrs.join(" "),
      peer.addresses.join(" "),
      peer.path,
    ]),
  ];
  const repairs: Rows = [
    ["REPAIRED", "WITHIN", "FOUND", "DONE"],
    ...report.repairs
      .slice(-shownRepairs)
      .map(({ at, afterMs, found, done }) => [at, formatMs(afterMs), found, done]),
  ];
  const problems = report.problems.map(({ area, message }) => `problem: ${area}: ${message}\n`);
  return [
    formatTable(facts),
    report.peers.length === 0 ? "" : `\n${formatTable(peers)}`,
    report.repairs.length === 0 ? "" : `\n${formatTable(repairs)}`,
    problems.length === 0 ? "" : `\n${problems.join("")}`,
  ].join("");
}

function formatAhead(ahead: DnsStatus["ahead"]): Rows {
  if (ahead === undefined) return [];
  const { addresses, since, problem, others } = ahead;
  const named = others.map(
    ({ service, readyEndpoints }) => `${service} (${readyEndpoints} endpoints)`,
  );
  const who = listOr(named, "nobody that the cluster knows");
  const why = problem === undefined ? "" : `: ${problem}`;
  return [
    [
      "dns ahead",
      addresses.length > 0
        ? `${listOr(addresses, "")} answered here since ${since}, else by ${who}${why}`
        : `FAILS OPEN to ${who} since ${since}${why}`,
    ],
  ];
}

function formatCache({
  cacheEntries,
  cacheBytes = 0,
  cacheHits = 0,
  cacheMisses = 0,
  cacheStale = 0,
}: StatusReport["dns"]["counters"]): Rows {
  // An older daemon has no cache.
  if (cacheEntries === undefined) return [];
  const asked = cacheHits + cacheMisses;
  const share = asked === 0 ? "" : `, ${Math.floor((100 * cacheHits) / asked)} % hits`;
  const stale = cacheStale === 0 ? "" : `, ${cacheStale} stale`;
  const mebibytes = (cacheBytes / 2 ** 20).toFixed(1);
  return [["dns cache", `${cacheEntries} answers, ${mebibytes} MiB${share}${stale}`]];
}

/** Of the newest; `--json` has more. */
const shownRepairs = 5;

const formatMs = (ms: number | undefined): string =>
  ms === undefined ? "-" : `${ms.toFixed(1)} ms`;

const listOr = (items: readonly string[], none: string): string =>
  items.length === 0 ? none : items.join(" ");

const formatSweep = ({ lastAt, problem, freed }: SweepStatus): string => {
  const [newest] = freed.slice(-1);
  const last =
    newest && `, the last at ${newest.at}: ${newest.addresses.join(" ")} (${newest.why})`;
  return `${freed.length} freed${last ?? ""}${lastAt === undefined ? ", not looked yet" : ""}${problem === undefined ? "" : `; ${problem}`}`;
};

const formatPool = ({ pool, family, held, size, quarantined }: PoolStatus): string =>
  `pool ${pool}, IPv${family}: ${held} of ${formatCount(size)} held, ${quarantined} in quarantine`;

/** In full, or `2^64` where that is too long to read. */
export const formatCount = (count: number): string =>
  count < 1e9 ? String(count) : `2^${Math.round(Math.log2(count))}`;

/** `42 s`, `7 min`, `3 h`, `12 d`: the largest unit that fills. */
export function formatSeconds(seconds: number): string {
  const units = [
    ["d", 86_400],
    ["h", 3600],
    ["min", 60],
  ] as const;
  for (const [unit, size] of units) {
    if (seconds >= size) return `${Math.floor(seconds / size)} ${unit}`;
  }
  return `${Math.floor(seconds)} s`;
}
