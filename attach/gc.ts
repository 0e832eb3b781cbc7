import { CniCode, CniError } from "../core/cni/error.ts";
import type { NetConf, NetworkRequest } from "../core/cni/types.ts";
import { describeError } from "../core/error.ts";
import { attachmentHash } from "../core/names.ts";
import { type Owner, validityOf } from "../ipam/lease.ts";
import { forward, hasOwnIpam, ownIpam, releaseAddresses } from "./addresses.ts";
import type { AttachScope } from "./context.ts";
import { detach, removeInterface } from "./del.ts";
import type { AttachmentRecord } from "./records.ts";

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
  if (hasOwnIpam(conf)) await attempt(() => collectLeases(scope, conf, listed, signal));
  await attempt(() => forward(scope, "GC", request, signal));
  if (failures.length > 0) throw together(conf.name, failures);
}

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
    wiring: record.wired?.wiring,
    release: () => releaseAddresses(scope, attachment, record, signal),
    reap: "wait",
  });
  scope.log.info({ ...key }, "GC removed an attachment");
}

/**
 * Leases of attachments that have no record: the interface is known by the name that follows from the
 * lease, and goes before the address. What has a record is in use, or failed to be removed above.
 */
async function collectLeases(
  scope: AttachScope,
  conf: NetConf,
  listed: readonly Owner[],
  signal: AbortSignal,
): Promise<void> {
  const network = conf.name;
  const ipam = ownIpam(scope, conf);
  const recorded = scope.records.list().records.map(({ key }) => key);
  const isValid = validityOf([...listed, ...recorded.filter((key) => key.network === network)]);
  for (const lease of await ipam.leases(network, signal)) {
    const { containerId, ifName } = lease;
    if (ifName === "" || isValid(lease)) continue;
    await removeInterface(scope, { network, containerId, ifName }, undefined, "wait");
  }
  const freed = await ipam.collect(network, isValid, signal);
  if (freed.length > 0) {
    scope.log.info({ network, addresses: freed.map(({ address }) => address) }, "GC freed leases");
  }
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
