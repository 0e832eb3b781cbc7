// Where an attachment's addresses come from: fairlead's own leases, or a delegated IPAM plugin.
import type { Ip } from "../core/address.ts";
import { ownIpamType } from "../core/cni/config.ts";
import { CniCode, CniError } from "../core/cni/error.ts";
import { parseResult } from "../core/cni/result.ts";
import type {
  AttachmentRequest,
  CniResult,
  CniRoute,
  Dns,
  NetConf,
  NetworkRequest,
} from "../core/cni/types.ts";
import { toError } from "../core/error.ts";
import type { NodeFacts } from "../core/node-facts.ts";
import { assign, offersOf } from "../ipam/assign.ts";
import { refuseAddresses } from "../ipam/foreign-range.ts";
import type { Ipam } from "../ipam/ipam.ts";
import { canonicalSets } from "../ipam/range.ts";
import type { AttachContext } from "./context.ts";
import { callDelegate, findDelegate, withOwnResult } from "./delegate.ts";
import { peerAddresses } from "./peers.ts";
import type { AttachmentRecord, RecordedIpam } from "./records.ts";

/** What IPAM gives to one attachment. */
export interface Assignment {
  readonly addresses: readonly Ip[];
  readonly routes: readonly CniRoute[];
  /** Present when a delegated plugin said so, or `ipam.resolvConf`. */
  readonly dns?: Dns;
  /** What a delegated plugin answered. */
  readonly given?: string;
}

/** Our own leases of the network, where its configuration keeps them. */
export const ownIpam = ({ ipam }: AttachContext, conf: NetConf): Ipam => ipam.at(conf.ipam.dataDir);

export const hasOwnIpam = (conf: NetConf): boolean => conf.ipam.type === ownIpamType;

/** Throws CniError invalidConfig when addresses cannot be asked for at all, before anything is done. */
export function requireIpam(
  { kernel, clock }: Pick<AttachContext, "kernel" | "clock">,
  { conf, environment }: NetworkRequest,
  facts: NodeFacts,
): void {
  if (!hasOwnIpam(conf)) {
    findDelegate(conf.ipam.type, environment["CNI_PATH"] ?? "");
    return;
  }
  const offers = offersOf(conf, () => facts);
  if (conf.ipam.ranges.length === 0) return;
  refuseAddresses(
    offers.flatMap(canonicalSets).flat(),
    peerAddresses(kernel, clock),
    "another node's own address",
  );
}

/**
 * The reference plugin dhcp asks over the pod's interface, which is up before it runs. Who answers is
 * at the node: a pod's broadcast ends there.
 */
export const needsInterface = (ipamType: string): boolean => ipamType === "dhcp";

interface ForWhom extends Pick<AttachmentRecord, "sandbox" | "pod"> {
  /** Not to be given. */
  readonly used: readonly Ip[];
}

/** Repeated for the same attachment of our own IPAM: the same addresses. */
export async function reserveAddresses(
  context: AttachContext,
  request: AttachmentRequest,
  { sandbox, pod, used }: ForWhom,
  signal: AbortSignal,
): Promise<Assignment> {
  const { key, conf } = request;
  if (!hasOwnIpam(conf)) return delegated(context, request, signal);
  const { ipam, nodeFacts: facts } = context;
  return assignmentOf(
    await assign({ key, sandbox, ...(pod && { pod }), used, conf, ipam, facts }, signal),
  );
}

const assignmentOf = ({ ips, routes, dns }: CniResult): Assignment => ({
  addresses: ips.map(({ address }) => address.address),
  routes,
  ...(Object.keys(dns).length > 0 && { dns }),
});

async function delegated(
  context: AttachContext,
  request: AttachmentRequest,
  signal: AbortSignal,
): Promise<Assignment> {
  const { conf } = request;
  const stdout = await callDelegate({ ...callOf(context, request), command: "ADD" }, signal);
  const result = parseResult(stdout, conf.cniVersion);
  if (result.ips.length > 0) return { ...assignmentOf(result), given: stdout };
  throw new CniError(
    CniCode.internal,
    `Cannot use the result of IPAM plugin "${conf.ipam.type}": it has no address`,
  );
}

/**
 * Nothing held is no failure. The configuration may have changed since ADD: the record says whose the
 * addresses were.
 */
export async function releaseAddresses(
  context: AttachContext,
  request: AttachmentRequest,
  record: AttachmentRecord | undefined,
  signal: AbortSignal,
): Promise<void> {
  const { key, conf } = request;
  if (record?.ipam.type === ownIpamType) {
    await releaseRecorded(context, record, signal);
    return;
  }
  if (hasOwnIpam(conf)) await ownIpam(context, conf).release(key, signal);
  const { type } = record?.ipam ?? conf.ipam;
  if (type === ownIpamType) return;
  try {
    await releaseDelegated(context, request, record?.ipam, signal);
  } catch (cause) {
    if (!needsInterface(type)) throw cause;
    // Its lease ends by itself; the specification wants no error for it ("DEL").
    context.log.warn({ ...key, err: toError(cause) }, "cannot give a DHCP lease back: it runs out");
  }
}

/**
 * As the runtime says now; where that is another plugin by now, or none that takes the configuration, as
 * the ADD said.
 */
async function releaseDelegated(
  context: AttachContext,
  request: AttachmentRequest,
  recorded: RecordedIpam | undefined,
  signal: AbortSignal,
): Promise<void> {
  const { key, conf } = request;
  const call = { ...callOf(context, request), command: "DEL" } as const;
  const told = recorded?.request ?? conf.raw;
  if (recorded === undefined || recorded.type === conf.ipam.type) {
    try {
      await callDelegate(call, signal);
      return;
    } catch (cause) {
      if (told === conf.raw) throw cause;
      context.log.info({ ...key, err: toError(cause) }, "DEL is told as ADD was");
    }
  }
  await callDelegate({ ...call, type: recorded?.type ?? conf.ipam.type, input: told }, signal);
}

/** Frees our own leases by the record alone. */
export async function releaseRecorded(
  { ipam }: AttachContext,
  record: AttachmentRecord,
  signal: AbortSignal,
): Promise<void> {
  await ipam.at(record.ipam.dataDir).release(record.key, signal);
}

/** Passes STATUS or GC on to a delegated plugin; nothing to pass on for our own. */
export async function forward(
  context: AttachContext,
  command: "STATUS" | "GC",
  request: NetworkRequest,
  signal: AbortSignal,
): Promise<void> {
  if (hasOwnIpam(request.conf)) return;
  await callDelegate({ ...callOf(context, request), command }, signal);
}

/** Passes CHECK on to a delegated plugin, with what it answered to ADD. */
export async function forwardCheck(
  context: AttachContext,
  request: AttachmentRequest,
  given: string | undefined,
  signal: AbortSignal,
): Promise<void> {
  const { conf } = request;
  if (hasOwnIpam(conf)) return;
  const call = { ...callOf(context, request), command: "CHECK" } as const;
  await callDelegate(
    given === undefined ? call : { ...call, input: withOwnResult(conf, given) },
    signal,
  );
}

const callOf = ({ log }: AttachContext, { conf, environment }: NetworkRequest) => ({
  conf,
  environment,
  log,
});
