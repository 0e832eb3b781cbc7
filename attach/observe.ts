import type { AttachmentRequest } from "../core/cni/types.ts";
import { formatChange } from "../core/format-change.ts";
import type { AttachmentKey } from "../core/names.ts";
import type { Change, Shaping } from "../core/network.ts";
import { validityOf } from "../ipam/lease.ts";
import type { NetworkNamespace } from "../kernel/kernel.ts";
import { hasOwnIpam, ownIpam } from "./addresses.ts";
import type { AttachContext } from "./context.ts";
import { contents } from "./plan.ts";
import { type WiredEnd, type Wiring, wire } from "./wiring.ts";

/**
 * What of an attachment is not as ADD made it, each in one line; empty when it is whole. What others
 * added is no difference: later plugins of a chain may add addresses, routes, neighbors.
 */
export function differences(
  kernel: NetworkNamespace,
  sandbox: NetworkNamespace,
  key: AttachmentKey,
  wiring: Wiring,
): readonly string[] {
  const { host, pod } = wire(key, wiring);
  return [...endDifferences("node", kernel, host), ...endDifferences("sandbox", sandbox, pod)];
}

/** Addresses of our own that the attachment no longer holds, each in one line. */
export async function leaseDifferences(
  context: AttachContext,
  { key, conf }: AttachmentRequest,
  { addresses }: Wiring,
  signal: AbortSignal,
): Promise<readonly string[]> {
  if (!hasOwnIpam(conf)) return [];
  const leases = await ownIpam(context, conf).leases(key.network, signal);
  const isOurs = validityOf([key]);
  const held = new Set(leases.filter(isOurs).map(({ address }) => address));
  return addresses
    .filter((address) => !held.has(address))
    .map((address) => `leases: address ${address} is not held by this attachment`);
}

function endDifferences(where: string, namespace: NetworkNamespace, end: WiredEnd): string[] {
  const { device } = end;
  const link = namespace.link(device);
  if (link === undefined) return [`${where}: interface "${device}" is missing`];
  // A device of that name that is not the one made for this attachment: the rest says nothing.
  if (link.index !== end.index || link.linkIndex !== end.peerIndex) {
    return [`${where}: interface "${device}" is not the one that ADD made`];
  }
  return [
    ...(link.isUp ? [] : [`${where}: interface "${device}" is down`]),
    ...(link.mac === end.mac
      ? []
      : [`${where}: interface "${device}" has MAC ${link.mac ?? "none"}, expected ${end.mac}`]),
    ...missing(namespace, end).map(
      (change) => `${where}: missing what "${formatChange(change)}" makes`,
    ),
  ];
}

/** What hangs on this end no longer, as the changes that would mend it, in their order. */
export function missing(namespace: NetworkNamespace, end: WiredEnd): readonly Change[] {
  const { device } = end;
  const present = new Set(
    contents({
      device,
      addresses: namespace.addresses(device),
      routes: namespace.routes({ device }),
      neighbors: namespace.neighbors(device),
    }).map(formatChange),
  );
  return contents(end).filter((change) =>
    change.kind === "replace-shaping"
      ? !isShaped(namespace, change.shaping)
      : !present.has(formatChange(change)),
  );
}

function isShaped(namespace: NetworkNamespace, { device, rate, limit }: Shaping): boolean {
  const found = namespace.shaping(device);
  return found?.rate === rate && found.limit === limit;
}
