// Neighbors and the forwarding entries of VXLAN devices: both are RTM_*NEIGH messages, told apart by
// the address family. <linux/neighbour.h>, rtnetlink(7).
import { FlagsNew } from "netlink/dist/constants.js";
import { MessageType } from "netlink/dist/rt/gen_structs.js";
import { familyOf, macFromBytes } from "../core/address.ts";
import type { ObjectChange } from "../core/network-change.ts";
import type { Neighbor } from "../core/network.ts";
import { addressFamily, familyFrom } from "./family.ts";
import type { MessageBatch } from "./message.ts";
import type { Message } from "./received.ts";

/** struct ndmsg: family, interface index, state, flags, type. */
export const ndmsgLength = 12;
export const nda = {
  destination: 1,
  linkLayerAddress: 2,
  port: 6,
  vni: 7,
  interfaceIndex: 8,
} as const;
/** NUD_* states. */
export const neighborState = {
  reachable: 0x02,
  stale: 0x04,
  delay: 0x08,
  probe: 0x10,
  noarp: 0x40,
  permanent: 0x80,
} as const;
const usableStates =
  neighborState.reachable |
  neighborState.stale |
  neighborState.delay |
  neighborState.probe |
  neighborState.permanent;

interface Ndmsg {
  readonly family: number;
  readonly index: number;
  readonly state?: number;
  readonly flags?: number;
}

export const writeNdmsg = (batch: MessageBatch, { family, index, state, flags }: Ndmsg) =>
  batch
    .u8(family)
    .u8(0)
    .u16(0)
    .u32(index)
    .u16(state ?? 0)
    .u8(flags ?? 0)
    .u8(0);

export function writeReplaceNeighbor(batch: MessageBatch, neighbor: Neighbor, index: number): void {
  const { address, mac, isPermanent } = neighbor;
  batch.message(MessageType.NEWNEIGH, FlagsNew.CREATE | FlagsNew.REPLACE, () => {
    const state = isPermanent ? neighborState.permanent : neighborState.reachable;
    writeNdmsg(batch, { family: addressFamily(familyOf(address)), index, state });
    batch.attributeIp(nda.destination, address).attributeMac(nda.linkLayerAddress, mac);
  });
}

export function writeRemoveNeighbor(batch: MessageBatch, neighbor: Neighbor, index: number): void {
  batch.message(MessageType.DELNEIGH, 0, () => {
    writeNdmsg(batch, { family: addressFamily(familyOf(neighbor.address)), index });
    batch.attributeIp(nda.destination, neighbor.address);
  });
}

/** To be dumped: the entries of one interface, of both families or of the bridge family. */
export function writeGetNeighbors(batch: MessageBatch, family: number, index: number): void {
  batch.message(MessageType.GETNEIGH, 0, () => {
    writeNdmsg(batch, { family, index: 0 });
    batch.attributeU32(nda.interfaceIndex, index);
  });
}

export const decodeNeighbor =
  (device: Neighbor["device"], index: number) =>
  (message: Message): Neighbor | undefined => {
    const state = message.u16(8);
    if (message.u32(4) !== index || familyFrom(message.u8(0)) === undefined) return undefined;
    if ((state & usableStates) === 0) return undefined;
    const attributes = message.attributes(ndmsgLength);
    const address = attributes.ip(nda.destination);
    const mac = attributes.octets(nda.linkLayerAddress);
    if (address === undefined || mac?.length !== 6) return undefined;
    const isPermanent = (state & neighborState.permanent) !== 0;
    return { device, address, mac: macFromBytes(mac), isPermanent };
  };

/** What a notification says of a neighbor. One that can no longer be used is as good as gone. */
export function decodeNeighborChange(
  message: Message,
  device: Neighbor["device"],
): ObjectChange | undefined {
  const index = message.u32(4);
  const item = message.type === removed ? undefined : decodeNeighbor(device, index)(message);
  if (item !== undefined) return { kind: "neighbor", item };
  const attributes = message.attributes(ndmsgLength);
  const address = attributes.ip(nda.destination);
  // The kernel's own come and go with what is sent.
  if (address === undefined || isMulticast(attributes.octets(nda.destination))) return undefined;
  return { kind: "neighbor-gone", item: { device, address } };
}

const isMulticast = (octets: Uint8Array | undefined): boolean => {
  const first = octets?.[0] ?? 0;
  return octets?.length === 4 ? first >> 4 === 0xe : first === 0xff;
};

const removed: number = MessageType.DELNEIGH;
