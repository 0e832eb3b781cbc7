import { CniCode, CniError } from "../core/cni/error.ts";
import type { AttachmentRequest, CniResult } from "../core/cni/types.ts";
import type { AttachmentKey } from "../core/names.ts";
import type { Change } from "../core/network.ts";
import type { Sandbox } from "../kernel/kernel.ts";
import { forwardCheck } from "./addresses.ts";
import type { AttachScope } from "./context.ts";
import { differences, leaseDifferences, missing } from "./observe.ts";
import type { AttachmentRecord } from "./records.ts";
import { podInterfaceOf } from "./result.ts";
import { type Wiring, wire } from "./wiring.ts";
import { isSameNamespace, openRequestedSandbox } from "./sandbox.ts";

/**
 * Compares what is there with what ADD made: both interfaces, addresses, routes, neighbors, leases,
 * and the result that the runtime kept. Throws CniError checkFailed naming everything that differs.
 */
export async function check(
  scope: AttachScope,
  request: AttachmentRequest,
  signal: AbortSignal,
): Promise<void> {
  const { key, conf, netns } = request;
  const { prevResult } = conf;
  if (prevResult === undefined) {
    throw new CniError(
      CniCode.invalidConfig,
      "Cannot check without prevResult: expected ADD's result",
    );
  }
  using sandbox = openRequestedSandbox(scope.kernel, request);
  using _lock = await scope.records.lock(key, signal);
  const record = scope.records.read(key);
  if (record?.wired === undefined) throw failed(key, ["no completed ADD is on record"]);
  const wiring = followMac({ scope, sandbox, prevResult }, { ...record, wired: record.wired });
  const problems = [
    ...(isSameNamespace(record.sandbox, sandbox.identity)
      ? []
      : [`"${netns}" is another sandbox than ADD was given`]),
    ...differences(scope.kernel, sandbox, key, wiring),
    ...resultDifferences(prevResult, key, wiring),
    ...(await leaseDifferences(scope, request, wiring, signal)),
  ];
  if (problems.length > 0) throw failed(key, problems);
  await forwardCheck(scope, request, record.wired.given, signal);
}

interface Checking {
  readonly scope: AttachScope;
  readonly sandbox: Sandbox;
  readonly prevResult: CniResult;
}

/**
 * A later plugin of the chain may give the pod another MAC, as the reference plugin tuning does, and says
 * so in the result. With it go the sandbox's neighbors, and the node's say the old one: both ends are put
 * right here, for nobody tells the node when it happens.
 */
function followMac(
  { scope, sandbox, prevResult }: Checking,
  record: AttachmentRecord & Required<Pick<AttachmentRecord, "wired">>,
): Wiring {
  const { key, wired } = record;
  const mac = podInterfaceOf(prevResult, key)?.mac;
  const link = sandbox.link(key.ifName);
  const planned = wire(key, wired.wiring).pod;
  // Given the MAC that it has, the interface loses its neighbors all the same.
  const isGiven = mac !== planned.mac || sandbox.neighbors(planned.device).length === 0;
  const isOurs = link?.index === planned.index && link.mac === mac;
  if (mac === undefined || !isGiven || !isOurs) return wired.wiring;
  const wiring = { ...wired.wiring, podMac: mac };
  const { host, pod } = wire(key, wiring);
  scope.records.write({ ...record, wired: { ...wired, wiring } });
  scope.kernel.apply(missing(scope.kernel, host).filter(isNeighbor));
  sandbox.apply(missing(sandbox, pod).filter(isNeighbor));
  scope.log.info({ ...key, mac }, "a later plugin changed the pod's MAC: neighbors follow");
  return wiring;
}

const isNeighbor = ({ kind }: Change): boolean => kind === "replace-neighbor";

// The final result of the chain: it may say more than ours did, not less.
function resultDifferences(result: CniResult, key: AttachmentKey, wiring: Wiring): string[] {
  const isPodInterface = (index: number | undefined): boolean => {
    const found = index === undefined ? undefined : result.interfaces[index];
    return found === undefined || (found.name === key.ifName && (found.sandbox ?? "") !== "");
  };
  const given = new Set(
    result.ips.filter((ip) => isPodInterface(ip.interface)).map((ip) => ip.address.address),
  );
  return wiring.addresses
    .filter((address) => !given.has(address))
    .map((address) => `prevResult: address ${address} of "${key.ifName}" is missing`);
}

const failed = (key: AttachmentKey, problems: readonly string[]): CniError =>
  new CniError(
    CniCode.checkFailed,
    `Attachment of container "${key.containerId}" interface "${key.ifName}" is not as ADD left it: ${problems.join("; ")}`,
    { details: problems.join("\n") },
  );
