// An attachment's hostPorts in the node's table. Each step is one turn of the event loop together with the
// record that says so: what the daemon compares the table with is never ahead of it or behind.
import { type Ip, cidrContains, familyOf } from "../core/address.ts";
import { CniCode, CniError } from "../core/cni/error.ts";
import {
  type HostPortHolder,
  hostPortElements,
  hostPortPart,
  sharedHostPort,
} from "../core/desired/host-ports.ts";
import { hasErrno, toError } from "../core/error.ts";
import { type AttachmentKey, attachmentHash, nftTableName } from "../core/names.ts";
import { type UdpFlow, localTable } from "../core/network.ts";
import { formatMapElement } from "../core/nft.ts";
import { type PortMapping, isOfFamily, oneAddressOf } from "../core/port-mapping.ts";
import type { Kernel } from "../kernel/kernel.ts";
import type { AttachContext } from "./context.ts";
import type { AttachmentRecord, HostPortClaim, RecordStore } from "./records.ts";
import type { Wiring } from "./wiring.ts";

/** Throws CniError hostPortTaken naming the attachment that has one of the ports. */
export function requireFreePorts(
  { records }: AttachContext,
  key: AttachmentKey,
  wiring: Pick<Wiring, "addresses" | "portMappings">,
): void {
  const wanted = holderOf(wiring);
  if (wanted === undefined) return;
  const find = (): Taken | undefined => takenOf(records, key, wanted);
  if (find() === undefined) return;
  // Another process may have ended that attachment since the last look.
  records.list();
  const taken = find();
  if (taken === undefined) return;
  const { network, containerId, ifName } = taken.by.key;
  throw new CniError(
    CniCode.hostPortTaken,
    `Cannot take host port ${taken.port}: container "${containerId}" interface "${ifName}" of network "${network}" has it`,
  );
}

interface Taken {
  readonly port: string;
  readonly by: HostPortClaim;
}

// One that another process took since the last look, the node's table refuses.
function takenOf(
  records: Pick<RecordStore, "claimantsOf">,
  key: AttachmentKey,
  wanted: HostPortHolder,
): Taken | undefined {
  const own = attachmentHash(key);
  for (const by of records.claimantsOf(wanted.portMappings.map(({ hostPort }) => hostPort))) {
    const port = sharedHostPort(wanted, by);
    if (port !== undefined && attachmentHash(by.key) !== own) return { port, by };
  }
  return undefined;
}

/** Has the ports lead to the pod, also for senders whose flows were going elsewhere. */
export function openHostPorts(context: AttachContext, key: AttachmentKey, wiring: Wiring): void {
  const holder = holderOf(wiring);
  if (holder === undefined) return;
  const { kernel, nodeFacts } = context;
  try {
    kernel.putNftElements(hostPortPart(nodeFacts().dns.nameservers, holder));
  } catch (cause) {
    if (!hasErrno(cause, "EEXIST")) throw cause;
    throw new CniError(
      CniCode.hostPortTaken,
      "Cannot take the host ports: the node's table has one of them for a pod without a record",
      { cause },
    );
  }
  forgetFlows(context, key, holder, (flow, target) => {
    const isOurs = flow.answerer === target.address && flow.answererPort === target.port;
    return !isOurs && isSentTo(kernel, flow, target.mapping);
  });
}

/**
 * Takes the ports away, from the record alone; what of them leads elsewhere stays. The record no longer
 * has them then.
 */
export function closeHostPorts(context: AttachContext, record: AttachmentRecord | undefined): void {
  if (record?.wired === undefined) return;
  const { portMappings, ...wiring } = record.wired.wiring;
  const holder = holderOf({ ...wiring, portMappings });
  if (holder === undefined) return;
  context.kernel.removeNftElements(nftTableName, hostPortElements(holder));
  forgetFlows(
    context,
    record.key,
    holder,
    (flow, target) => flow.answerer === target.address && flow.answererPort === target.port,
  );
  context.records.write({ ...record, wired: { ...record.wired, wiring } });
}

/** What of the attachment's hostPorts is not in the node's table, each in one line. */
export function hostPortDifferences(kernel: Kernel, wiring: Wiring): readonly string[] {
  const holder = holderOf(wiring);
  if (holder === undefined) return [];
  return kernel
    .missingNftElements(nftTableName, hostPortElements(holder))
    .flatMap(({ name, elements }) =>
      elements.map(
        (element) =>
          `node: map "${name}" of table inet ${nftTableName} lacks ${formatMapElement(element)}`,
      ),
    );
}

const holderOf = ({
  addresses,
  portMappings = [],
}: {
  readonly addresses: readonly Ip[];
  readonly portMappings?: readonly PortMapping[] | undefined;
}): HostPortHolder | undefined =>
  portMappings.length === 0 ? undefined : { addresses, portMappings };

/** Where a mapping leads. */
interface Target {
  readonly mapping: PortMapping;
  readonly address: Ip;
  readonly port: number;
}

/**
 * A flow goes where its first packet went for as long as it lasts, and a UDP sender that keeps its port
 * lasts for ever. Not worth an ADD or DEL when it fails.
 */
function forgetFlows(
  { kernel, log }: AttachContext,
  key: AttachmentKey,
  { addresses, portMappings }: HostPortHolder,
  isWanted: (flow: UdpFlow, target: Target) => boolean,
): void {
  try {
    for (const mapping of portMappings.filter(({ protocol }) => protocol === "udp")) {
      const targets = ([4, 6] as const)
        .filter((family) => isOfFamily(mapping, family))
        .flatMap((family) => addresses.find((address) => familyOf(address) === family) ?? [])
        .map((address): Target => ({ mapping, address, port: mapping.containerPort }));
      const flows = kernel.udpFlows(mapping.hostPort);
      kernel.forgetUdpFlows(
        flows.filter((flow) =>
          targets.some(
            (target) =>
              familyOf(target.address) === familyOf(flow.source) && isWanted(flow, target),
          ),
        ),
      );
    }
  } catch (thrown) {
    log.warn({ ...key, err: toError(thrown) }, "cannot make UDP senders take their new way");
  }
}

/** To the node, at the mapping's address: a flow that only passes by is none of ours. */
function isSentTo(kernel: Kernel, { destination }: UdpFlow, mapping: PortMapping): boolean {
  const only = oneAddressOf(mapping);
  if (only !== undefined) return destination === only;
  return kernel
    .routes({ table: localTable })
    .some(({ type, destination: local }) => type === "local" && cidrContains(local, destination));
}
