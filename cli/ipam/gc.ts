// `fairlead ipam gc`: ends at once what the daemon ends in its own time; works the same without one.
import { setTimeout } from "node:timers/promises";
import { silentAnnouncer } from "../../attach/announcer.ts";
import type { Forgotten } from "../../attach/forgotten-sweep.ts";
import { createHandlers } from "../../attach/handlers.ts";
import type { LeaseSweepOptions } from "../../attach/lease-sweep.ts";
import { openAttachLock } from "../../attach/lock.ts";
import { openRecords } from "../../attach/records.ts";
import { describeError } from "../../core/error.ts";
import { type Log, silentLog } from "../../core/log.ts";
import { paths } from "../../core/paths.ts";
import { momentOf } from "../../ipam/lease-memory.ts";
import { openIpam } from "../../ipam/store.ts";
import { systemBootClock } from "../../kernel/boot-clock.ts";
import { systemClock } from "../../kernel/clock.ts";
import { openKernel } from "../../kernel/linux.ts";
import { liveNetworkNamespaces, namespacesUnseen } from "../../kernel/live-namespaces.ts";
import { readNodeFacts } from "../../kernel/node-facts.ts";
import { systemRandom } from "../../kernel/random.ts";
import { type CliContext, exitStatus, SilentFailure, UsageError } from "../context.ts";
import { requireRoot } from "../root.ts";
import { formatTable } from "../table.ts";

export interface GcOptions {
  readonly dryRun?: boolean;
  readonly grace: string;
  readonly json?: boolean;
}

export interface GcReport {
  readonly isDryRun: boolean;
  readonly freed: readonly Forgotten[];
  /** What could not be told or done. */
  readonly problems: readonly string[];
}

const longestGraceSeconds = 3600;
// Longer than a daemon's first sweep takes.
const attachLockDeadlineMs = 5_000;

/** Fails when something could not be told or done; the rest is done all the same. */
export async function gc(options: GcOptions, context: CliContext): Promise<void> {
  const graceMs = 1000 * parseGrace(options.grace);
  requireRoot("free addresses");
  const isDryRun = options.dryRun === true;
  const liveNamespaces = liveNetworkNamespaces;
  const report = await collectForgotten({ graceMs, isDryRun, liveNamespaces }, context.signal);
  context.stdout(
    options.json === true ? `${JSON.stringify(report, null, 2)}\n` : formatReport(report),
  );
  if (report.problems.length > 0) throw new SilentFailure(exitStatus.failed);
}

export interface Collection extends Pick<LeaseSweepOptions, "graceMs" | "liveNamespaces"> {
  readonly isDryRun: boolean;
}

/** Looks twice, the grace apart. */
export async function collectForgotten(
  { graceMs, isDryRun, liveNamespaces }: Collection,
  signal: AbortSignal,
): Promise<GcReport> {
  const problems = new Set<string>();
  const log = problemLog((problem) => problems.add(problem));
  const clock = systemClock;
  using kernel = openKernel();
  const handlers = createHandlers({
    kernel,
    ipam: openIpam({ clock, log }),
    records: openRecords({ directory: paths.attachments, clock, log }),
    nodeFacts: () => readNodeFacts(paths),
    clock,
    random: systemRandom,
    log,
    announcer: silentAnnouncer,
    reap: "wait",
  });
  const sweep = handlers.forgotten({
    now: () => momentOf({ clock, boot: systemBootClock }),
    liveNamespaces,
    graceMs,
  });
  const look = async (): Promise<readonly Forgotten[]> => {
    const lock = { path: paths.attachLock, clock, deadlineMs: attachLockDeadlineMs };
    using _lock = await openAttachLock("shared", lock, signal);
    return sweep.run(signal, { isDryRun });
  };
  // Asked here too: a look at nothing but what certainly lives asks for none, and would not tell.
  if ((await liveNamespaces(signal)) === undefined) problems.add(namespacesUnseen);
  const first = await look();
  await setTimeout(graceMs, undefined, { signal });
  const second = await look();
  return { isDryRun, freed: isDryRun ? second : [...first, ...second], problems: [...problems] };
}

function problemLog(note: (problem: string) => void): Log {
  const noted: Log["warn"] = ({ err, problem, ...facts }, message) => {
    const why = describeError(err ?? problem ?? "");
    note(`${message}${why === "" ? "" : `: ${why}`} ${JSON.stringify(facts)}`);
  };
  return { ...silentLog, warn: noted, error: noted };
}

function parseGrace(text: string): number {
  const seconds = Number(text);
  if (text !== "" && seconds >= 0 && seconds <= longestGraceSeconds) return seconds;
  throw new UsageError(
    `Cannot use --grace "${text}": expected seconds from 0 to ${longestGraceSeconds}`,
  );
}

/** For people. */
export function formatReport({ isDryRun, freed, problems }: GcReport): string {
  const words = isDryRun ? "would be freed" : "freed";
  const rows = freed.map(({ kind, network, addresses, containerId, ifName, pod, why }) => [
    kind,
    network,
    addresses.join(" ") || "-",
    pod === undefined ? "-" : `${pod.namespace}/${pod.name}`,
    containerId,
    ifName,
    why,
  ]);
  const header = ["WHAT", "NETWORK", "ADDRESSES", "POD", "CONTAINER", "INTERFACE", "WHY"];
  return [
    rows.length === 0 ? `nothing ${words}\n` : `${rows.length} ${words}\n\n`,
    rows.length === 0 ? "" : formatTable([header, ...rows]),
    ...problems.map((problem) => `problem: ${problem}\n`),
  ].join("");
}
