import { CniCode, CniError } from "../core/cni/error.ts";
import type { AttachmentRequest, CniResult } from "../core/cni/types.ts";
import type { AttachmentKey } from "../core/names.ts";
import { forwardCheck, needsInterface } from "./addresses.ts";
import type { AttachScope } from "./context.ts";
import { followMac } from "./follow.ts";
import { hostPortDifferences } from "./host-ports.ts";
import { differences, leaseDifferences } from "./observe.ts";
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
  const mac = podInterfaceOf(prevResult, key)?.mac;
  const wiring = followMac(scope, sandbox, { ...record, wired: record.wired }, mac);
  const problems = [
    ...(isSameNamespace(record.sandbox, sandbox.identity)
      ? []
      : [`"${netns}" is another sandbox than ADD was given`]),
    ...differences(scope.kernel, sandbox, key, wiring),
    ...hostPortDifferences(scope.kernel, wiring),
    ...resultDifferences(prevResult, key, wiring),
    ...(await leaseDifferences(scope, request, wiring, signal)),
  ];
  if (problems.length > 0) throw failed(key, problems);
  await forwardCheck(scope, request, record.wired.given, signal);
  if (needsInterface(record.ipam.type)) putBackNeighbors(scope, key, wiring);
}

// The reference plugin dhcp asks anew for CHECK, and dnsmasq then makes the pod's entry one that ages.
function putBackNeighbors({ kernel }: AttachScope, key: AttachmentKey, wiring: Wiring): void {
  const { neighbors } = wire(key, wiring).host;
  kernel.apply(neighbors.map((neighbor) => ({ kind: "replace-neighbor", neighbor })));
}

// The final result of the chain: it may say more than ours did, not less.
function resultDifferences(result: CniResult, key: AttachmentKey, wiring: Wiring): string[] {
  const isPodInterface = (index: number | undefined): boolean => {
    const found = index === undefined ? undefined : result.interfaces[index];
    return found === undefined || (found.name === key.ifName && (found.sandbox ?? "") !== "");
  };
  const given = new Set(
    result.ips.filter((ip) => isPodInterface(ip.interface)).map((ip) => ip.address.address),
  );
  const mac = podInterfaceOf(result, key)?.mac;
  const expected = wire(key, wiring).pod.mac;
  return [
    ...(mac === undefined || mac === expected
      ? []
      : [`prevResult: "${key.ifName}" has MAC ${mac}, expected ${expected}`]),
    ...wiring.addresses
      .filter((address) => !given.has(address))
      .map((address) => `prevResult: address ${address} of "${key.ifName}" is missing`),
  ];
}

const failed = (key: AttachmentKey, problems: readonly string[]): CniError =>
  new CniError(
    CniCode.checkFailed,
    `Attachment of container "${key.containerId}" interface "${key.ifName}" is not as ADD left it: ${problems.join("; ")}`,
    { details: problems.join("\n") },
  );
