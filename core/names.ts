import { hash } from "node:crypto";
import { type Mac, macFromHex } from "./address.ts";

declare const brand: unique symbol;

/** A network interface's name: 1 to 15 octets, as the kernel takes it. */
export type IfName = string & { readonly [brand]: "IfName" };

// Every kernel object of ours is recognisable after a restart without memory
// (ARCHITECTURE.md). Changing one of these orphans what an older version left in the kernel.
/** `rtm_protocol` of all our routes. */
export const routeProtocol = 76;
/** The one nftables table, family inet. */
export const nftTableName = "fairlead";
/** The VXLAN device. */
export const vxlanDevice = ifNameLiteral("fl-vxlan");
/** Links that go at the same time are in one of these groups, "fl" and a number. Nobody else uses them. */
export const removalGroups = { first: 0x666c_0000, count: 0x1_0000 } as const;
/** Of an attachment's host interface since its DEL began: it is down, and never comes up again. */
export const endingGroup = 0x666d_0000;
/** The loopback device of every network namespace. */
export const loopbackDevice = ifNameLiteral("lo");
/** Prefix of every interface that is ours. */
export const interfacePrefix = "fl";

/** One attachment, as the CNI specification keys it: (network, container, interface). */
export interface AttachmentKey {
  readonly network: string;
  readonly containerId: string;
  readonly ifName: string;
}

/** Twelve hex digits that stand for the attachment in names: of its interface, record and MACs. */
export function attachmentHash(key: AttachmentKey): string {
  const known = attachmentHashes.get(key);
  if (known !== undefined) return known;
  const octets = digest("attachment", key.network, key.containerId, key.ifName).subarray(0, 6);
  const text = octets.toString("hex");
  attachmentHashes.set(key, text);
  return text;
}

// A request asks for its own a dozen times.
const attachmentHashes = new WeakMap<AttachmentKey, string>();

/** The host end of the attachment's veth pair: `fl` and the attachment's hash. */
export const hostInterfaceName = (key: AttachmentKey): IfName =>
  ifNameLiteral(`${interfacePrefix}${attachmentHash(key)}`);

export const isPodHostInterface = (name: string): boolean => /^fl[0-9a-f]{12}$/.test(name);

/** Whether a link of this group is being removed, or is to be, by whoever finds it. */
export const isEndingGroup = (group: number): boolean =>
  group === endingGroup ||
  (group >= removalGroups.first && group < removalGroups.first + removalGroups.count);

/** The pair's MAC addresses: a function of the attachment, so that a repeated ADD gives them again. */
export const attachmentMacs = (key: AttachmentKey): { readonly host: Mac; readonly pod: Mac } => ({
  host: deriveMac("host-mac", key.network, key.containerId, key.ifName),
  pod: deriveMac("pod-mac", key.network, key.containerId, key.ifName),
});

/**
 * Metric of the default routes over an interface that is not the pod's first, 1 to 2^31: such routes
 * differ from those of the pod's other interfaces, and a repeated ADD gives them again.
 */
export const attachmentMetric = (key: AttachmentKey): number =>
  1 + (digest("metric", key.network, key.containerId, key.ifName).readUInt32BE() >>> 1);

/**
 * A node's VTEP MAC: every peer derives it from the node's name and the VNI, so that nothing needs
 * to be exchanged and nothing changes over a restart.
 */
export const vtepMac = (nodeName: string, vni: number): Mac =>
  deriveMac("vtep-mac", nodeName, String(vni));

/**
 * The name as the kernel accepts it, or undefined: length in octets, `/`, `:`, white space, `.`. Nor `%`,
 * which the kernel takes for a pattern: of `e%d` it makes `e0`, an interface that nobody asked for.
 */
export function parseIfName(text: string): IfName | undefined {
  const octets = Buffer.byteLength(text);
  const isLegal =
    octets >= 1 &&
    octets <= 15 &&
    text !== "." &&
    text !== ".." &&
    // Go's unicode.IsSpace, which the reference uses, has U+0085 and lacks U+FEFF; \s is the reverse.
    !/[/:%\0\u0085]|(?!\uFEFF)\s/u.test(text);
  return isLegal ? ifNameLiteral(text) : undefined;
}

// Locally administered, unicast: the second lowest bit of the first octet set, the lowest clear.
function deriveMac(...parts: readonly string[]): Mac {
  // As digits: a buffer for each peer costs more than its hash.
  const digits = hash("sha256", parts.join("\0"), "hex");
  const lowest = (Number.parseInt(digits.charAt(1), 16) & 0xc) | 0x2;
  return macFromHex(`${digits.charAt(0)}${lowest.toString(16)}${digits.slice(2, 12)}`);
}

// Parts are separated by an octet that none of them can contain.
const digest = (...parts: readonly string[]): Buffer => hash("sha256", parts.join("\0"), "buffer");

function ifNameLiteral(text: string): IfName {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- checked, or a literal above
  return text as IfName;
}
