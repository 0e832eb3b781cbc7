// Offloads of a device, by the words of ethtool(8): what they are on a new VXLAN device, and where they travel.
// Generic netlink, family "ethtool": <linux/genetlink.h>, <linux/ethtool_netlink.h>.
import type { AlteredOption, DeviceOption } from "../core/device-option.ts";
import { hasErrno } from "../core/error.ts";
import type { IfName } from "../core/names.ts";
import { type MessageBatch, batchOf } from "./message.ts";
import type { MessageFailure, NetlinkSocket } from "./netlink.ts";
import type { Attributes, Message } from "./received.ts";

/** GENL_ID_CTRL, which knows the families' numbers. */
const controller = { family: 16, get: 3, number: 1, name: 2 } as const;
const ethtool = { name: "ethtool", getFeatures: 11, setFeatures: 12 } as const;
/** struct genlmsghdr: command, version, two octets of nothing. */
const genericLength = 4;
const version = 1;

/** Of ETHTOOL_A_FEATURES_*: the header, what may be changed, and what is asked for of that. */
const features = { header: 1, changeable: 2, wanted: 3 } as const;
const header = { device: 2, flags: 3 } as const;
const omitReply = 2;
/** ETHTOOL_A_BITSET_*: without a mask all that are listed are on. */
const bitset = { noMask: 1, bits: 3, bit: 1, bitName: 2, bitIsOn: 3 } as const;

/** Those that matter on a VXLAN device; what a kernel has besides is left as it is. */
const usualFeatures: readonly (readonly [string, number])[] = [
  ["tx-checksum-ip-generic", 1],
  ["tx-scatter-gather", 1],
  ["tx-scatter-gather-fraglist", 1],
  ["tx-generic-segmentation", 1],
  ["tx-tcp-segmentation", 1],
  ["tx-tcp-ecn-segmentation", 1],
  ["tx-tcp-mangleid-segmentation", 1],
  ["tx-tcp6-segmentation", 1],
  ["tx-udp-segmentation", 1],
  ["tx-sctp-segmentation", 1],
  ["tx-nocache-copy", 0],
  ["rx-checksum", 1],
  ["rx-gro", 1],
  ["rx-gro-list", 0],
  ["rx-udp-gro-forwarding", 0],
];

export class DeviceFeatures {
  readonly #open: () => NetlinkSocket;
  /** Of the family; undefined before it is asked for, 0 where the kernel has none. */
  #family: number | undefined;

  /** @param socket of generic netlink. Asked for with every call; it stays the caller's. */
  constructor(socket: () => NetlinkSocket) {
    this.#open = socket;
  }

  /** Those of a VXLAN device that are not as on a new one. None where the kernel does not tell. */
  altered(device: IfName): readonly AlteredOption[] {
    const request = this.#request(ethtool.getFeatures, device, 0);
    if (request === undefined) return [];
    try {
      return this.#open().get(request, decodeAltered) ?? [];
    } catch (error) {
      if (hasErrno(error, "EOPNOTSUPP")) return [];
      throw error;
    }
  }

  /** Why they could not be set. */
  set(device: IfName, options: readonly DeviceOption[]): MessageFailure | undefined {
    const request = this.#request(ethtool.setFeatures, device, omitReply, (batch) =>
      batch.nested(features.wanted, () => writeBits(batch, options)),
    );
    return request && this.#open().send(request)[0];
  }

  #request(
    command: number,
    device: IfName,
    flags: number,
    write: (batch: MessageBatch) => void = () => {},
  ): MessageBatch | undefined {
    this.#family ??= this.#open().get(batchOf(writeGetFamily), decodeFamily) ?? 0;
    const family = this.#family;
    if (family === 0) return undefined;
    return batchOf((batch) =>
      batch.message(family, 0, () => {
        writeGeneric(batch, command);
        batch.nested(features.header, () => {
          batch.attributeText(header.device, device);
          if (flags !== 0) batch.attributeU32(header.flags, flags);
        });
        write(batch);
      }),
    );
  }
}

const writeGeneric = (batch: MessageBatch, command: number): MessageBatch =>
  batch.u8(command).u8(version).u16(0);

const writeGetFamily = (batch: MessageBatch): void =>
  batch.message(controller.family, 0, () => {
    writeGeneric(batch, controller.get).attributeText(controller.name, ethtool.name);
  });

const decodeFamily = (message: Message): number =>
  message.attributes(genericLength).octets(controller.number)?.readUInt16LE() ?? 0;

function writeBits(batch: MessageBatch, options: readonly DeviceOption[]): void {
  batch.nested(bitset.bits, () => {
    for (const { word, value } of options) {
      batch.nested(bitset.bit, () => {
        batch.attributeText(bitset.bitName, word);
        if (value !== 0) batch.attributeOctets(bitset.bitIsOn, new Uint8Array());
      });
    }
  });
}

function decodeAltered(message: Message): readonly AlteredOption[] {
  const attributes = message.attributes(genericLength);
  const changeable = wordsIn(attributes.nested(features.changeable));
  const wanted = wordsIn(attributes.nested(features.wanted));
  return usualFeatures.flatMap(([word, usual]): readonly AlteredOption[] => {
    const value = wanted.has(word) ? 1 : 0;
    if (!changeable.has(word) || value === usual) return [];
    return [{ of: "feature", word, value, usual, isFixed: false }];
  });
}

/** Of the bits that are on. */
function wordsIn(set: Attributes | undefined): ReadonlySet<string> {
  const words = new Set<string>();
  const isOnAlone = set?.has(bitset.noMask) === true;
  for (const bit of set?.nested(bitset.bits)?.list() ?? []) {
    const word = isOnAlone || bit.has(bitset.bitIsOn) ? bit.text(bitset.bitName) : undefined;
    if (word !== undefined) words.add(word);
  }
  return words;
}
