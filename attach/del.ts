import type { AttachmentRequest } from "../core/cni/types.ts";
import { hasErrno } from "../core/error.ts";
import { type AttachmentKey, hostInterfaceName } from "../core/names.ts";
import { needsInterface, releaseAddresses } from "./addresses.ts";
import type { AttachScope } from "./context.ts";
import { closeHostPorts } from "./host-ports.ts";
import { planDel } from "./plan.ts";
import type { AttachmentRecord } from "./records.ts";
import type { Wiring } from "./wiring.ts";

/**
 * Ends an attachment, or what a killed ADD left of one. Works from the key and the record alone: the
 * sandbox may be gone, empty, or another one's by now, so nothing is done inside it. Succeeds when
 * there is nothing to do.
 */
export async function del(
  scope: AttachScope,
  request: AttachmentRequest,
  signal: AbortSignal,
): Promise<void> {
  const { key } = request;
  using opened = new DisposableStack();
  opened.use(await scope.records.lock(key, signal));
  const record = scope.records.read(key);
  await detach(scope, {
    key,
    record,
    release: () => releaseAddresses(scope, request, record, signal),
    reap: scope.reap,
  });
  scope.putOff?.(opened.move());
}

export interface Detachment {
  readonly key: AttachmentKey;
  readonly record: AttachmentRecord | undefined;
  /** Gives the addresses back. */
  readonly release: () => Promise<unknown>;
  /** Whether to wait until the interface is gone from the kernel. */
  readonly reap: "background" | "wait";
}

/**
 * The one way an attachment ends: for DEL, GC, the daemon's sweep and an ADD that failed. The hostPorts
 * and the interface first and the addresses last, so that nobody gets an address that still leads to this pod. The
 * record is kept until everything else is gone: after a failure the next DEL goes on from there.
 */
export async function detach(scope: AttachScope, detachment: Detachment): Promise<void> {
  await takeApart(scope, detachment);
  scope.records.remove(detachment.key);
}

/** All that `detach` does but for the record. */
export async function takeApart(
  scope: AttachScope,
  { key, record, release, reap }: Detachment,
): Promise<void> {
  await scope.announcer.withdraw(key);
  closeHostPorts(scope, record);
  // A lease that was asked for over the interface is given back over it.
  const isFirst = record !== undefined && needsInterface(record.ipam.type);
  if (isFirst) await release();
  await removeInterface(scope, key, record?.wired?.wiring, reap);
  if (!isFirst) await release();
}

/** The attachment's interfaces and routes; nothing there is no failure. */
export async function removeInterface(
  { kernel, reaper }: AttachScope,
  key: AttachmentKey,
  wiring: Wiring | undefined,
  reap: "background" | "wait",
): Promise<void> {
  try {
    kernel.apply(planDel(key));
  } catch (cause) {
    // The pair went with its sandbox, or was never made.
    if (hasErrno(cause, "ENODEV")) return;
    throw cause;
  }
  const gone = reaper.retire(hostInterfaceName(key), wiring?.addresses ?? []);
  if (reap === "wait") await gone;
  else gone.catch(() => {}); // the reaper has logged it
}
