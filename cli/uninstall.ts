import { existsSync } from "node:fs";
import { openAttachLock } from "../attach/lock.ts";
import { openRecords, type RecordList } from "../attach/records.ts";
import { ConfigError } from "../core/error.ts";
import { silentLog } from "../core/log.ts";
import { paths } from "../core/paths.ts";
import { readSysctlRecord } from "../daemon/node/sysctl-record.ts";
import { systemClock } from "../kernel/clock.ts";
import { tryLock } from "../kernel/flock.ts";
import type { FileLock, Kernel } from "../kernel/kernel.ts";
import { openKernel } from "../kernel/linux.ts";
import { readNodeFacts } from "../kernel/node-facts.ts";
import { type CliContext, exitStatus, SilentFailure } from "./context.ts";
import { type InstallLayout, installedLayout } from "./install-layout.ts";
import type { UninstallOptions } from "./install-options.ts";
import { removeInstalledFiles, removeManagedConflist, removeNodeState } from "./installed-files.ts";
import { removeKernelObjects } from "./kernel-objects.ts";
import { requireRoot } from "./root.ts";
import { formatTable } from "./table.ts";

const attachLockDeadlineMs = 5000;

/**
 * `fairlead uninstall`: what fairlead owns on this node, in the kernel and on disk; below another
 * root, the files alone. Refuses, with what to do, while a daemon runs or pods are attached.
 */
export async function uninstall(options: UninstallOptions, context: CliContext): Promise<void> {
  const layout = installedLayout(options);
  const isThisNode = layout.root === "/";
  const removed = [
    ...(isThisNode ? await removeFromNode(layout, options, context) : []),
    ...removeInstalledFiles(layout),
  ];
  if (options.json) context.stdout(`${JSON.stringify({ removed }, null, 2)}\n`);
  else context.stdout(removed.map((line) => `removed ${line}\n`).join("") || "nothing to remove\n");
}

async function removeFromNode(
  layout: InstallLayout,
  { force = false }: UninstallOptions,
  context: CliContext,
): Promise<string[]> {
  requireRoot("uninstall");
  // Nothing of ours is there: nor should we make it, only to remove it.
  const isThere = existsSync(paths.run);
  using _daemonLock = isThere ? lockOutDaemon() : undefined;
  // From here no request without a daemon begins, and those that had begun are done.
  const lock = { path: paths.attachLock, clock: systemClock, deadlineMs: attachLockDeadlineMs };
  using _attachLock = isThere ? await openAttachLock("exclusive", lock, context.signal) : undefined;
  const attachments = isThere ? listAttachments() : { records: [], unreadable: [] };
  if (!force) refuseWhileAttached(attachments, context);
  const sysctls = sysctlsBefore(force);
  using kernel = openKernel();
  return [
    ...removeManagedConflist(layout),
    ...(await removeKernelObjects(kernel)),
    ...restoreSysctls(kernel, sysctls),
    ...removeNodeState(networksOf(attachments)),
  ];
}

const listAttachments = (): RecordList =>
  openRecords({ directory: paths.attachments, clock: systemClock, log: silentLog }).list();

function lockOutDaemon(): FileLock {
  const lock = tryLock(paths.daemonLock, "exclusive");
  if (lock !== undefined) return lock;
  throw new Error(
    "Cannot uninstall under a running daemon: stop it first (systemctl stop fairlead)",
  );
}

/** Kernel settings as they were before fairlead changed them first; none by force, where it is not known. */
function sysctlsBefore(force: boolean): ReadonlyMap<string, string> {
  try {
    return readSysctlRecord(paths.sysctls);
  } catch (error) {
    if (force && error instanceof ConfigError) return new Map();
    throw error;
  }
}

function restoreSysctls(kernel: Kernel, sysctls: ReadonlyMap<string, string>): string[] {
  return [...sysctls].map(([name, value]) => {
    kernel.writeSysctl(name, value);
    return `our value of ${name}, which is ${value} again`;
  });
}

function refuseWhileAttached({ records, unreadable }: RecordList, context: CliContext): void {
  if (records.length + unreadable.length === 0) return;
  const rows = records.map(({ key, pod }) => [
    pod === undefined ? "" : `${pod.namespace}/${pod.name}`,
    key.network,
    key.containerId,
    key.ifName,
  ]);
  const unread = unreadable.map(({ path, problem }) => ["", "", path, problem]);
  context.stderr(
    `fairlead: Cannot uninstall while attachments exist (--force removes them under their pods):\n${formatTable(
      [["POD", "NETWORK", "CONTAINER", "INTERFACE"], ...rows, ...unread],
      "  ",
    )}`,
  );
  throw new SilentFailure(exitStatus.failed);
}

/** Whose leases are ours: the daemon's network, and those of attachments. */
function networksOf({ records }: RecordList): ReadonlySet<string> {
  const networks = new Set(records.map(({ key }) => key.network));
  try {
    networks.add(readNodeFacts(paths).network);
  } catch {
    // No facts, or of an earlier boot or version: then the network is not known.
  }
  return networks;
}
