import { CniCode, CniError } from "../core/cni/error.ts";
import type { NetConf, NetworkRequest } from "../core/cni/types.ts";
import { describeError } from "../core/error.ts";
import { type AttachmentKey, type IfName, attachmentHash } from "../core/names.ts";
import type { Lease } from "../ipam/ipam.ts";
import { type Owner, validityOf } from "../ipam/lease.ts";
import { forward, hasOwnIpam, ownIpam, releaseAddresses } from "./addresses.ts";
import type { AttachScope } from "./context.ts";
import { detach } from "./del.ts";
import type { AttachmentRecord } from "./records.ts";
import { retiredInterfaces } from "./sweep.ts";

/** The kernel removes interfaces together: sixteen in the time of one. */
const removedAtOnce = 16;

/**
 * Removes every attachment of the network that the runtime does not list, and nothing else. Goes on
 * after a failure and reports all together. A request without a list says nothing, so nothing is done.
 */
export async function gc(
  scope: AttachScope,
  request: NetworkRequest,
  signal: AbortSignal,
): Promise<void> {
  const { conf } = request;
  const listed = conf.validAttachments;
  if (listed === undefined) {
    scope.log.warn(
      { network: conf.name },
      "GC without a list of valid attachments: nothing is done",
    );
    return;
  }
  const valid = new Set(listed.map((attachment) => hashIn(conf.name, attachment)));
  const failures: unknown[] = [];
  const attempt = async (step: () => Promise<void>): Promise<void> => {
    try {
      await step();
    } catch (thrown) {
      failures.push(thrown);
    }
  };
  const stale = scope.records
    .list()
    .records.filter(({ key }) => key.network === conf.name && !valid.has(attachmentHash(key)));
  for (let at = 0; at < stale.length; at += removedAtOnce) {
    await Promise.all(
      stale
        .slice(at, at + removedAtOnce)
        .map((record) => attempt(() => removeStale(scope, request, record, signal))),
    );
  }
  if (hasOwnIpam(conf)) {
    const isListed = validityOf(listed);
    await attempt(async () => {
      for (const lease of await ownIpam(scope, conf).leases(conf.name, signal)) {
        if (!isListed(lease)) await attempt(() => removeUnrecorded(scope, conf, lease, signal));
      }
    });
  }
  for (const device of retiredInterfaces(scope, scope.records.list())) {
    await attempt(() => removeUnfinished(scope, device));
  }
  await attempt(() => forwardGc(scope, request, signal));
  if (failures.length > 0) throw together(conf.name, failures);
}

// A plugin that is older than the verb has nothing to collect: its attachments were given back by DEL.
async function forwardGc(
  scope: AttachScope,
  request: NetworkRequest,
  signal: AbortSignal,
): Promise<void> {
  try {
    await forward(scope, "GC", request, signal);
  } catch (cause) {
    if (!(cause instanceof CniError && saysUnknownVerb.has(cause.code))) throw cause;
    scope.log.info({ plugin: request.conf.ipam.type, err: cause }, "IPAM plugin knows no GC");
  }
}

// What the reference library answers to a verb it does not know, and to the first version that has it.
const saysUnknownVerb: ReadonlySet<number> = new Set([
  CniCode.invalidEnvironment,
  CniCode.incompatibleVersion,
]);

async function removeStale(
  scope: AttachScope,
  request: NetworkRequest,
  listedRecord: AttachmentRecord,
  signal: AbortSignal,
): Promise<void> {
  const { key } = listedRecord;
  using lock = scope.records.tryLock(key);
  if (lock === undefined) {
    // An ADD or DEL of it is under way: it knows better than a list made before.
    scope.log.info({ ...key }, "GC leaves an attachment that a request is at work on");
    return;
  }
  const record = scope.records.read(key);
  if (record === undefined) return;
  const attachment = {
    ...request,
    key,
    netns: "",
    args: new Map<string, string>(),
    environment: {
      ...request.environment,
      CNI_CONTAINERID: key.containerId,
      CNI_IFNAME: key.ifName,
      CNI_NETNS: "",
      CNI_ARGS: "",
    },
  };
  await detach(scope, {
    key,
    record,
    release: () => releaseAddresses(scope, attachment, record, signal),
    reap: "wait",
  });
  scope.log.info({ ...key }, "GC removed an attachment");
}

/**
 * Attachments of which only the lease is left: the interface is known by the name that follows from
 * it. What has a record is in use, or failed to be removed before. Nothing is taken from the time when
 * the leases were listed: an ADD that began meanwhile has the lock, or its record.
 */
async function removeUnrecorded(
  scope: AttachScope,
  conf: NetConf,
  lease: Lease,
  signal: AbortSignal,
): Promise<void> {
  const { address, containerId, ifName } = lease;
  const key = { network: conf.name, containerId, ifName };
  using lock = scope.records.tryLock(key);
  if (lock === undefined || isRecorded(scope, key)) return;
  await detach(scope, {
    key,
    record: undefined,
    release: () => ownIpam(scope, conf).release(key, signal),
    reap: "wait",
  });
  scope.log.info({ ...key, address }, "GC freed a lease without a record");
}

/**
 * An interface of which neither a record nor a lease tells: of an ADD, of whichever network, that was killed
 * before it had them.
 */
async function removeUnfinished(scope: AttachScope, device: IfName): Promise<void> {
  const { records, kernel, reaper, log } = scope;
  using lock = records.tryLockOf(device);
  if (lock === undefined || records.readOf(device) !== undefined) return;
  if (kernel.link(device)?.isUp !== false) return;
  await reaper.retire(device, []);
  log.info({ device }, "GC removed an interface without a record");
}

// The oldest format of a lease names no interface: it may be of any attachment of its container.
function isRecorded({ records }: AttachScope, key: AttachmentKey): boolean {
  if (key.ifName !== "") return records.read(key) !== undefined;
  return records
    .list()
    .records.some(
      (record) => record.key.network === key.network && record.key.containerId === key.containerId,
    );
}

const hashIn = (network: string, { containerId, ifName }: Owner): string =>
  attachmentHash({ network, containerId, ifName });

function together(network: string, failures: readonly unknown[]): CniError {
  const [first] = failures;
  return new CniError(
    first instanceof CniError ? first.code : CniCode.internal,
    `Cannot remove everything stale of network "${network}": ${failures.map(describeError).join("; ")}`,
    { cause: new AggregateError(failures) },
  );
}
