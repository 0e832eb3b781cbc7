// A pod's MAC is the key's, until a later plugin of the chain gives another one (the reference plugin
// tuning does). The kernel then drops the neighbors of the pod's interface, permanent ones too, and those
// at the node still name the old MAC: nothing passes either way. Nobody tells the node. So CHECK looks, and
// the daemon does at pods that are new.
import type { Mac } from "../core/address.ts";
import { KernelError, hasErrno } from "../core/error.ts";
import type { Change } from "../core/network.ts";
import type { Sandbox } from "../kernel/kernel.ts";
import type { AttachScope } from "./context.ts";
import { missing } from "./observe.ts";
import type { AttachmentRecord, WiredRecord } from "./records.ts";
import { isSameNamespace } from "./sandbox.ts";
import { type WiredEnd, type Wiring, wire } from "./wiring.ts";

/**
 * Puts both ends right when the pod's interface has this MAC by now, and keeps it on
 * record. The attachment's lock is held. Gives the wiring as it is to be.
 */
export function followMac(
  { kernel, records, log }: AttachScope,
  sandbox: Sandbox,
  record: WiredRecord,
  mac: Mac | undefined,
): Wiring {
  const { key, wired } = record;
  const planned = wire(key, wired.wiring).pod;
  const link = sandbox.link(planned.device);
  if (mac === undefined || link?.index !== planned.index || link.mac !== mac) return wired.wiring;
  // The kernel takes no route over it: CHECK names it, and it is followed when it is up again.
  if (!link.isUp) return wired.wiring;
  // Given the MAC that it has, the interface loses its neighbors all the same.
  const isGiven = mac !== planned.mac || sandbox.neighbors(planned.device).length === 0;
  if (!isGiven) return wired.wiring;
  const wiring = { ...wired.wiring, podMac: mac };
  const { host, pod } = wire(key, wiring);
  records.write({ ...record, wired: { ...wired, wiring } });
  kernel.apply(missing(kernel, host).filter(isNeighbor));
  const lost = missing(sandbox, pod);
  sandbox.apply(isFlushed(lost, pod) ? lost : lost.filter(isNeighbor));
  log.info({ ...key, mac }, "the pod's MAC was given anew: neighbors follow");
  return wiring;
}

/**
 * Whether the interface was down meanwhile, which some give a MAC in: with it went all routes and the
 * IPv6 addresses. A plugin that moves routes leaves some.
 */
const isFlushed = (lost: readonly Change[], { routes }: WiredEnd): boolean =>
  lost.filter(({ kind }) => kind === "add-route").length === routes.length;

const isNeighbor = ({ kind }: Change): boolean => kind === "replace-neighbor";

/** How long after its ADD an attachment is looked at: the rest of a chain takes a second or two. */
const newForMs = 12_000;
/** A look takes 0.1 ms, and requests wait for all of them. */
const looksAtOnce = 64;

/** Looks at the attachments that are new, the newest first. */
export function followNew(scope: AttachScope, records: readonly AttachmentRecord[]): void {
  const newSinceMs = scope.clock.nowMs() - newForMs;
  const found = records
    .filter(({ createdAtMs }) => createdAtMs > newSinceMs)
    .sort((a, b) => b.createdAtMs - a.createdAtMs);
  for (const record of found.slice(0, looksAtOnce)) followOne(scope, record);
}

function followOne(scope: AttachScope, { key }: AttachmentRecord): void {
  using lock = scope.records.tryLock(key);
  const record = lock && scope.records.read(key);
  if (record?.wired === undefined) return;
  try {
    using sandbox = scope.kernel.openSandbox(record.sandbox.path);
    if (!isSameNamespace(sandbox.identity, record.sandbox)) return;
    followMac(scope, sandbox, { ...record, wired: record.wired }, sandbox.link(key.ifName)?.mac);
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
    // ENOENT: it is gone, or the runtime has it in a mount namespace of its own.
    if (!hasErrno(error, "ENOENT")) {
      scope.log.warn({ ...key, err: error }, "cannot look at a new pod's interface");
    }
  }
}
