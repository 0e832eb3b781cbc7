// The forwarding entries of a VXLAN device: inner MAC → underlay address. RTM_*NEIGH messages of the
// bridge family, aimed at the device itself (NTF_SELF), as bridge(8) sends them.
import { FlagsNew } from "netlink/dist/constants.js";
import { MessageType } from "netlink/dist/rt/gen_structs.js";
import { macFromBytes } from "../core/address.ts";
import type { FdbEntry } from "../core/network.ts";
import type { MessageBatch } from "./message.ts";
import type { Message } from "./received.ts";
import { nda, ndmsgLength, neighborState, writeNdmsg } from "./neighbor.ts";

/** AF_BRIDGE. */
export const bridgeFamily = 7;
const flagSelf = 0x02;

export function writeReplaceFdb(batch: MessageBatch, entry: FdbEntry, index: number): void {
  const state = entry.isPermanent ? neighborState.permanent : neighborState.reachable;
  batch.message(MessageType.NEWNEIGH, FlagsNew.CREATE | FlagsNew.REPLACE, () =>
    writeEntry(batch, entry, index, state),
  );
}

export function writeRemoveFdb(batch: MessageBatch, entry: FdbEntry, index: number): void {
  batch.message(MessageType.DELNEIGH, 0, () => writeEntry(batch, entry, index, 0));
}

function writeEntry(batch: MessageBatch, entry: FdbEntry, index: number, state: number): void {
  writeNdmsg(batch, { family: bridgeFamily, index, state, flags: flagSelf });
  batch
    .attributeMac(nda.linkLayerAddress, entry.mac)
    .attributeIp(nda.destination, entry.destination);
  const { port, vni, underlayIndex } = entry;
  if (port !== undefined) batch.attributeU16be(nda.port, port);
  if (vni !== undefined) batch.attributeU32(nda.vni, vni);
  if (underlayIndex !== undefined) batch.attributeU32(nda.interfaceIndex, underlayIndex);
}

export const decodeFdbEntry =
  (device: FdbEntry["device"], index: number) =>
  (message: Message): FdbEntry | undefined => {
    if (message.u32(4) !== index) return undefined;
    const attributes = message.attributes(ndmsgLength);
    const destination = attributes.ip(nda.destination);
    const mac = attributes.octets(nda.linkLayerAddress);
    if (destination === undefined || mac?.length !== 6) return undefined;
    const isPermanent = (message.u16(8) & neighborState.permanent) !== 0;
    const port = attributes.u16be(nda.port);
    const vni = attributes.u32(nda.vni);
    const underlayIndex = attributes.u32(nda.interfaceIndex);
    return {
      device,
      mac: macFromBytes(mac),
      destination,
      isPermanent,
      ...(port !== undefined && { port }),
      ...(vni !== undefined && { vni }),
      ...(underlayIndex !== undefined && { underlayIndex }),
    };
  };
