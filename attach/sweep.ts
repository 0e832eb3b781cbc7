import { setTimeout } from "node:timers/promises";
import { ownIpamType } from "../core/cni/config.ts";
import { KernelError, toError } from "../core/error.ts";
import {
  type IfName,
  hostInterfaceName,
  isEndingGroup,
  isPodHostInterface,
} from "../core/names.ts";
import type { Lease } from "../ipam/ipam.ts";
import { validityOf } from "../ipam/lease.ts";
import { releaseRecorded } from "./addresses.ts";
import type { AttachScope } from "./context.ts";
import { detach } from "./del.ts";
import type { AttachmentRecord, RecordList } from "./records.ts";
import { isSameNamespace } from "./sandbox.ts";

export interface SweepReport {
  /** Attachments whose sandbox is gone, removed. */
  readonly attachments: number;
  /** Interfaces that a DEL took down and nobody removed, removed. */
  readonly interfaces: number;
}

// The kernel takes apart a namespace 10 to 50 ms after its last user is gone. For all of them together.
const namespaceGraceMs = 500;
const namespacePollMs = 20;

/**
 * Removes what nobody will ask about again: attachments whose sandbox is gone (a runtime that crashed
 * sends no DEL), those whose DEL was cut short, and interfaces whose removal was cut short. For the daemon's start, while attach.lock
 * is held exclusive. What cannot be told is left: DEL and GC find it.
 */
export async function sweep(scope: AttachScope, signal: AbortSignal): Promise<SweepReport> {
  const { records, log } = scope;
  records.removeStrays();
  const list = records.list();
  for (const { path, problem } of list.unreadable) {
    log.warn({ path, problem }, "attachment record is unreadable: left alone");
  }
  const giveUpAtMs = scope.clock.monotonicMs() + namespaceGraceMs;
  let attachments = 0;
  for (const record of list.records) {
    const isOver =
      isEnding(scope, record) || (await isSandboxGone(scope, record, giveUpAtMs, signal));
    if (isOver) {
      if (await removeForgotten(scope, record, signal)) attachments++;
    }
  }
  const retired = retiredInterfaces(scope, list);
  await scope.kernel.reap(retired);
  if (attachments > 0 || retired.length > 0) {
    log.info({ attachments, interfaces: retired }, "removed what earlier requests left");
  }
  return { attachments, interfaces: retired.length };
}

/**
 * Frees the leases of a network of which neither a record nor details speak: those of pods that a reboot
 * ended, where the journal did not outlive it. What has details is freed when its time has come.
 * Resolves with how many.
 */
export async function freeUnrecorded(
  { records, ipam, log }: AttachScope,
  network: string,
  signal: AbortSignal,
): Promise<number> {
  const recorded = records.list().records.map(({ key }) => key);
  const isRecorded = validityOf(recorded.filter((key) => key.network === network));
  const { leases } = await ipam.inventory(network, signal);
  const detailed = new Set(leases.flatMap(({ address, details }) => (details ? [address] : [])));
  const isKept = (lease: Lease): boolean => detailed.has(lease.address) || isRecorded(lease);
  const freed = await ipam.collect(network, isKept, signal, "of an earlier boot");
  if (freed.length > 0) {
    log.info({ network, leases: freed.length }, "freed the leases of an earlier boot");
  }
  return freed.length;
}

/** Its DEL began, and was killed. */
function isEnding({ kernel }: AttachScope, { key }: AttachmentRecord): boolean {
  const link = kernel.link(hostInterfaceName(key));
  return link !== undefined && isEndingGroup(link.group);
}

/**
 * True when the path no longer names the namespace and the pair is gone too: it ends with its
 * namespace. A path alone proves nothing, for the runtime's mount and PID namespaces may not be ours.
 */
async function isSandboxGone(
  { kernel, clock }: AttachScope,
  { key, sandbox }: AttachmentRecord,
  giveUpAtMs: number,
  signal: AbortSignal,
): Promise<boolean> {
  try {
    using found = kernel.openSandbox(sandbox.path);
    if (isSameNamespace(found.identity, sandbox)) return false;
  } catch (cause) {
    if (!(cause instanceof KernelError)) throw cause;
  }
  while (kernel.link(hostInterfaceName(key)) !== undefined) {
    if (clock.monotonicMs() >= giveUpAtMs) return false;
    await setTimeout(namespacePollMs, undefined, { signal });
  }
  return true;
}

/**
 * Ends an attachment that nobody will ask about again. False when that failed (logged), when a request is
 * at work on it, or when it is another one by now.
 */
export async function removeForgotten(
  scope: AttachScope,
  record: AttachmentRecord,
  signal: AbortSignal,
): Promise<boolean> {
  const { key, ipam } = record;
  if (ipam.type !== ownIpamType) {
    // Its plugin must be told, with a configuration that only a DEL or GC brings.
    scope.log.info({ ...key, ipam: ipam.type }, "an attachment's sandbox is gone: left to GC");
    return false;
  }
  try {
    using lock = scope.records.tryLock(key);
    const current = lock && scope.records.read(key);
    if (current?.createdAtMs !== record.createdAtMs) return false;
    if (!isSameNamespace(current.sandbox, record.sandbox)) return false;
    await detach(scope, {
      key,
      record: current,
      release: () => releaseRecorded(scope, current, signal),
      reap: "wait",
    });
    return true;
  } catch (thrown) {
    scope.log.error(
      { ...key, err: toError(thrown) },
      "cannot remove an attachment without a sandbox",
    );
    return false;
  }
}

/**
 * Down and without a record: the state between DEL's answer and the interface's end, and between an ADD's
 * beginning and its record. A pod's interface that is up is never touched, even if all records are lost.
 */
export function retiredInterfaces(
  { kernel }: Pick<AttachScope, "kernel">,
  { records, unreadable }: RecordList,
): readonly IfName[] {
  const recorded = new Set([
    ...records.map(({ key }) => String(hostInterfaceName(key))),
    ...unreadable.map(({ interfaceName }) => interfaceName),
  ]);
  return kernel
    .links()
    .filter(({ name, isUp }) => isPodHostInterface(name) && !isUp && !recorded.has(name))
    .map(({ name }) => name);
}
