import type { AttachmentRequest } from "../core/cni/types.ts";
import { formatChange } from "../core/format-change.ts";
import type { AttachmentKey } from "../core/names.ts";
import { validityOf } from "../ipam/lease.ts";
import type { NetworkNamespace } from "../kernel/kernel.ts";
import { hasOwnIpam, ownIpam } from "./addresses.ts";
import type { AttachContext } from "./context.ts";
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
  const isMissing = (line: string): boolean => !present.has(line);
  const present = new Set(
    contentLines({
      addresses: namespace.addresses(device),
      routes: namespace.routes({ device }),
      neighbors: namespace.neighbors(device),
    }),
  );
  return [
    ...(link.isUp ? [] : [`${where}: interface "${device}" is down`]),
    ...(link.mac === end.mac
      ? []
      : [`${where}: interface "${device}" has MAC ${link.mac ?? "none"}, expected ${end.mac}`]),
    ...contentLines(end)
      .filter(isMissing)
      .map((line) => `${where}: missing what "${line}" makes`),
    ...shapingDifferences(where, namespace, end),
  ];
}

function shapingDifferences(
  where: string,
  namespace: NetworkNamespace,
  { device, shaping }: WiredEnd,
): string[] {
  if (shaping === undefined) return [];
  const found = namespace.shaping(device);
  if (found?.rate === shaping.rate && found.limit === shaping.limit) return [];
  return [`${where}: missing what "${formatChange({ kind: "replace-shaping", shaping })}" makes`];
}

// As the commands that would make them: one text to compare by, and to tell the operator.
const contentLines = ({
  addresses,
  routes,
  neighbors,
}: Pick<WiredEnd, "addresses" | "routes" | "neighbors">): string[] => [
  ...addresses.map((address) => formatChange({ kind: "add-address", address })),
  ...routes.map((route) => formatChange({ kind: "add-route", route })),
  ...neighbors.map((neighbor) => formatChange({ kind: "replace-neighbor", neighbor })),
];
