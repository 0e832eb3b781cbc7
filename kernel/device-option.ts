// Options of a device that nobody here ever sets: what they are on a new one, and where they travel.
// <linux/if_link.h>, <net/if.h>, drivers/net/vxlan.
import type { AlteredOption, DeviceOption } from "../core/device-option.ts";
import type { MessageBatch } from "./message.ts";
import type { Attributes } from "./received.ts";

/** An attribute of RTM_NEWLINK, or within a VXLAN device's own. */
interface AttributeOption {
  readonly word: string;
  readonly attribute: number;
  /** Of the value; 0: a flag, which is there or not. Of an address only that it is there is read. */
  readonly octets: 0 | 1 | 4 | 16;
  readonly isAddress?: true;
  /** The attribute within this one that has the value. */
  readonly within?: number;
  /** On a device that is new. */
  readonly usual: number;
  /** Those that are somebody's doing, where not all are that differ. */
  readonly unusual?: readonly number[];
  /** An attribute with what the hardware allows, where that is less. */
  readonly limit?: number;
}

const tsoMaxSize = 59;
const tsoMaxSegs = 60;

const linkOptions: readonly AttributeOption[] = [
  { word: "master", attribute: 10, octets: 4, usual: 0 },
  // IF_OPER_UP; IF_OPER_TESTING, IF_OPER_DORMANT. The kernel makes the others of what the device is.
  { word: "state", attribute: 16, octets: 1, usual: 6, unusual: [4, 5] },
  { word: "mode", attribute: 17, octets: 1, usual: 0 },
  { word: "txqueuelen", attribute: 13, octets: 4, usual: 1000 },
  { word: "protodown", attribute: 39, octets: 1, usual: 0 },
  // While it has any, the device stays down: in one message the kernel takes it first. IFLA_PROTO_DOWN_REASON_VALUE.
  { word: "protodown_reason", attribute: 55, within: 2, octets: 4, usual: 0 },
  { word: "gso_max_segs", attribute: 40, octets: 4, usual: 65_535, limit: tsoMaxSegs },
  { word: "gso_max_size", attribute: 41, octets: 4, usual: 65_536, limit: tsoMaxSize },
  { word: "gro_max_size", attribute: 58, octets: 4, usual: 65_536 },
  { word: "gso_ipv4_max_size", attribute: 63, octets: 4, usual: 65_536, limit: tsoMaxSize },
  { word: "gro_ipv4_max_size", attribute: 64, octets: 4, usual: 65_536 },
];

const vxlanOptions: readonly AttributeOption[] = [
  { word: "remote", attribute: 2, octets: 4, usual: 0, isAddress: true },
  { word: "remote6", attribute: 16, octets: 16, usual: 0, isAddress: true },
  { word: "ttl", attribute: 5, octets: 1, usual: 0 },
  { word: "tos", attribute: 6, octets: 1, usual: 0 },
  { word: "ageing", attribute: 8, octets: 4, usual: 300 },
  { word: "flowlabel", attribute: 26, octets: 4, usual: 0 },
  { word: "df", attribute: 29, octets: 1, usual: 0 },
  { word: "localbypass", attribute: 31, octets: 1, usual: 1 },
];

/** Those that the kernel refuses to change. */
const fixedVxlanOptions: readonly AttributeOption[] = [
  { word: "maxaddress", attribute: 9, octets: 4, usual: 0 },
  { word: "srcport", attribute: 10, octets: 4, usual: 0 },
  { word: "proxy", attribute: 11, octets: 1, usual: 0 },
  { word: "rsc", attribute: 12, octets: 1, usual: 0 },
  { word: "l2miss", attribute: 13, octets: 1, usual: 0 },
  { word: "l3miss", attribute: 14, octets: 1, usual: 0 },
  { word: "udpcsum", attribute: 18, octets: 1, usual: 1 },
  { word: "udp6zerocsumtx", attribute: 19, octets: 1, usual: 0 },
  { word: "udp6zerocsumrx", attribute: 20, octets: 1, usual: 0 },
  { word: "remcsumtx", attribute: 21, octets: 1, usual: 0 },
  { word: "remcsumrx", attribute: 22, octets: 1, usual: 0 },
  { word: "gbp", attribute: 23, octets: 0, usual: 0 },
  { word: "external", attribute: 25, octets: 1, usual: 0 },
  { word: "gpe", attribute: 27, octets: 0, usual: 0 },
  { word: "vnifilter", attribute: 30, octets: 1, usual: 0 },
];

/** Flags of a device: struct ifinfomsg. */
const flagOptions = [
  { word: "promisc", flag: 0x100, whenSet: 1, usual: 0 },
  { word: "allmulticast", flag: 0x200, whenSet: 1, usual: 0 },
  { word: "multicast", flag: 0x1000, whenSet: 1, usual: 1 },
  // IFF_NOARP
  { word: "arp", flag: 0x80, whenSet: 0, usual: 1 },
] as const;

/** The parts of a link's message that carry them. */
export interface OptionParts {
  readonly flags: number;
  readonly link: Attributes;
  readonly vxlan: Attributes;
}

/** Those of a VXLAN device that are not as on a new one. What this kernel does not have is left out. */
export function alteredOptions({ flags, link, vxlan }: OptionParts): readonly AlteredOption[] {
  const ofFlags = flagOptions.flatMap(({ word, flag, whenSet, usual }): AlteredOption[] => {
    const value = (flags & flag) === 0 ? 1 - whenSet : whenSet;
    return value === usual ? [] : [{ of: "link", word, value, usual, isFixed: false }];
  });
  return [
    ...ofFlags,
    ...alteredIn(link, linkOptions, { of: "link", isFixed: false }),
    ...alteredIn(vxlan, vxlanOptions, { of: "vxlan", isFixed: false }),
    ...alteredIn(vxlan, fixedVxlanOptions, { of: "vxlan", isFixed: true }),
  ];
}

const alteredIn = (
  attributes: Attributes,
  options: readonly AttributeOption[],
  which: Pick<AlteredOption, "of" | "isFixed">,
): readonly AlteredOption[] =>
  options.flatMap((option) => {
    const usual = usualOf(attributes, option);
    const value = usual === undefined ? undefined : valueOf(attributes, option);
    if (usual === undefined || value === undefined || value === usual) return [];
    if (option.unusual?.includes(value) === false) return [];
    return [{ word: option.word, value, usual, ...which }];
  });

/** Undefined where it is not told how much the hardware allows. */
function usualOf(attributes: Attributes, { usual, limit }: AttributeOption): number | undefined {
  if (limit === undefined) return usual;
  const most = attributes.u32(limit);
  return most === undefined ? undefined : Math.min(usual, most);
}

function valueOf(
  attributes: Attributes,
  { attribute, octets, isAddress, within }: AttributeOption,
): number | undefined {
  // Told only where it is not 0.
  if (within !== undefined) return attributes.nested(attribute)?.u32(within);
  if (octets === 0 || isAddress === true) return attributes.has(attribute) ? 1 : 0;
  return octets === 1 ? attributes.u8(attribute) : attributes.u32(attribute);
}

/** The flags to set, and the mask of those to change. */
export function flagsOf(options: readonly DeviceOption[]): { flags: number; mask: number } {
  let [flags, mask] = [0, 0];
  for (const { word, flag, whenSet } of flagOptions) {
    const option = options.find((one) => one.word === word);
    if (option === undefined) continue;
    mask |= flag;
    if (option.value === whenSet) flags |= flag;
  }
  return { flags, mask };
}

/** The attributes of those that travel so; of an address, that there is none. */
export function writeOptions(
  batch: MessageBatch,
  of: DeviceOption["of"],
  options: readonly DeviceOption[],
): void {
  const known = of === "link" ? linkOptions : vxlanOptions;
  for (const { word, value } of options.filter((option) => option.of === of)) {
    const row = known.find((one) => one.word === word);
    if (row === undefined) continue;
    const { attribute, octets, isAddress, within } = row;
    if (within !== undefined) batch.nested(attribute, () => batch.attributeU32(within, value));
    else if (isAddress === true) batch.attributeOctets(attribute, new Uint8Array(octets));
    else if (octets === 1) batch.attributeU8(attribute, value);
    else batch.attributeU32(attribute, value);
  }
}
