// Addresses on interfaces: RTM_*ADDR messages, rtnetlink(7) and <linux/if_addr.h>.
import { FlagsNew } from "netlink/dist/constants.js";
import { MessageType } from "netlink/dist/rt/gen_structs.js";
import { familyOf } from "../core/address.ts";
import type { InterfaceAddress } from "../core/network.ts";
import { addressFamily } from "./family.ts";
import type { MessageBatch } from "./message.ts";
import type { Message } from "./received.ts";

/** struct ifaddrmsg: family, prefix length, flags, scope, interface index. */
const ifaddrLength = 8;
const ifa = { address: 1, local: 2, flags: 8 } as const;
const flagNoDad = 0x02;
const flagNoPrefixRoute = 0x200;

function writeIfaddr(batch: MessageBatch, address: InterfaceAddress, index: number): void {
  const family = addressFamily(familyOf(address.address));
  batch.u8(family).u8(address.prefixLength).u8(0).u8(0).u32(index);
  batch.attributeIp(ifa.local, address.address).attributeIp(ifa.address, address.address);
}

/** Usable at once (no duplicate address detection), and bringing no route of its own. */
export function writeAddAddress(batch: MessageBatch, address: InterfaceAddress, index: number) {
  const flags = flagNoPrefixRoute | (familyOf(address.address) === 6 ? flagNoDad : 0);
  batch.message(MessageType.NEWADDR, FlagsNew.CREATE | FlagsNew.EXCL, () => {
    writeIfaddr(batch, address, index);
    batch.attributeU32(ifa.flags, flags);
  });
}

export function writeRemoveAddress(batch: MessageBatch, address: InterfaceAddress, index: number) {
  batch.message(MessageType.DELADDR, 0, () => writeIfaddr(batch, address, index));
}

/** To be dumped: the addresses of one interface, both families. */
export function writeGetAddresses(batch: MessageBatch, index: number): void {
  batch.message(MessageType.GETADDR, 0, () => batch.u8(0).u8(0).u8(0).u8(0).u32(index));
}

export const decodeAddress =
  (device: InterfaceAddress["device"], index: number) =>
  (message: Message): InterfaceAddress | undefined => {
    if (message.u32(4) !== index) return undefined;
    const attributes = message.attributes(ifaddrLength);
    // On a point-to-point link IFA_ADDRESS is the other end; IPv6 has no IFA_LOCAL otherwise.
    const address = attributes.ip(ifa.local) ?? attributes.ip(ifa.address);
    return address === undefined ? undefined : { device, address, prefixLength: message.u8(1) };
  };
