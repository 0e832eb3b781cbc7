// Links: RTM_*LINK messages, rtnetlink(7) and <linux/if_link.h>.
import { FlagsNew } from "netlink/dist/constants.js";
import { MessageType } from "netlink/dist/rt/gen_structs.js";
import { familyOf, macFromBytes } from "../core/address.ts";
import { type IfName, parseIfName } from "../core/names.ts";
import {
  type Change,
  type Link,
  type LinkSettings,
  type VethEnd,
  type VxlanParameters,
  linkAlias,
} from "../core/network.ts";
import { alteredOptions, flagsOf, writeOptions } from "./device-option.ts";
import type { MessageBatch } from "./message.ts";
import type { Attributes, Message } from "./received.ts";

/** struct ifinfomsg: family, type, index, flags, mask of the flags to change. */
const ifinfoLength = 16;

const ifla = {
  address: 1,
  name: 3,
  mtu: 4,
  link: 5,
  linkInfo: 18,
  alias: 20,
  afSpec: 26,
  group: 27,
  netnsFd: 28,
  extMask: 29,
  txQueues: 31,
  rxQueues: 32,
} as const;
const linkInfoKind = 1;
const linkInfoData = 2;
const vethInfoPeer = 1;
const vxlan = { id: 1, link: 3, local: 4, learning: 7, port: 15, local6: 17 } as const;
const afInet = 2;
const afInet6 = 10;
const inetConf = 1;
/** <linux/ip.h> */
const devconf = { forwarding: 1, rpFilter: 8, routeLocalnet: 26 } as const;
const inet6AddressGeneration = 8;
const addressGeneration = { eui64: 0, none: 1 } as const;
const flagUp = 1;
/** IFF_RUNNING: RFC 2863's operational state, netdevice(7). */
const flagRunning = 0x40;
// RTEXT_FILTER_SKIP_STATS: statistics are most of a link message, and nobody reads them here.
const withoutStatistics = 8;

/** An existing link: its index, or its name for the kernel to look up. */
export type LinkTarget = number | IfName;

/** The header of a change to a link; its name, if it goes by that, is the first attribute. */
function writeTarget(batch: MessageBatch, target: LinkTarget, flags = 0, mask = 0): void {
  if (typeof target === "number") return writeIfinfo(batch, target, flags, mask);
  writeIfinfo(batch, 0, flags, mask);
  batch.attributeText(ifla.name, target);
}

function writeIfinfo(batch: MessageBatch, index: number, flags = 0, mask = 0): void {
  batch.u8(0).u8(0).u16(0).u32(index).u32(flags).u32(mask);
}

/** Asks for one link by name, or for all when dumped without one. */
export function writeGetLink(batch: MessageBatch, name?: string): void {
  batch.message(MessageType.GETLINK, 0, () => {
    writeIfinfo(batch, 0);
    if (name !== undefined) batch.attributeText(ifla.name, name);
    batch.attributeU32(ifla.extMask, withoutStatistics);
  });
}

/**
 * A veth pair with both indexes and MACs given; the kernel makes a pod end only down. One queue each way: the default is one per
 * CPU, which makes RTM_NEWLINK slower (195 µs with one, 450 µs with 16) and no flow faster.
 */
export function writeAddVeth(
  batch: MessageBatch,
  change: Extract<Change, { readonly kind: "add-veth" }>,
): void {
  const { host, pod, mtu, sandboxFd, alias, isHostUp = false } = change;
  const writeEnd = (end: VethEnd, flags = 0): void => {
    writeIfinfo(batch, end.index, flags, flags);
    batch
      .attributeText(ifla.name, end.name)
      .attributeMac(ifla.address, end.mac)
      .attributeU32(ifla.mtu, mtu)
      .attributeU32(ifla.txQueues, 1)
      .attributeU32(ifla.rxQueues, 1);
  };
  batch.message(MessageType.NEWLINK, FlagsNew.CREATE | FlagsNew.EXCL, () => {
    writeEnd(host, isHostUp ? flagUp : 0);
    writeLinkInfo(batch, "veth", () =>
      batch.nested(vethInfoPeer, () => {
        writeEnd(pod);
        batch.attributeU32(ifla.netnsFd, sandboxFd);
      }),
    );
  });
  // RTM_NEWLINK ignores the alias of a link that it makes. By name, for at the index there may be
  // another link, if this one could not be made.
  if (alias !== undefined) writeSetAlias(batch, host.name, alias);
}

export function writeAddVxlan(
  batch: MessageBatch,
  change: Extract<Change, { readonly kind: "add-vxlan" }>,
): void {
  batch.message(MessageType.NEWLINK, FlagsNew.CREATE | FlagsNew.EXCL, () => {
    writeIfinfo(batch, 0);
    batch
      .attributeText(ifla.name, change.name)
      .attributeMac(ifla.address, change.mac)
      .attributeU32(ifla.mtu, change.mtu);
    writeLinkInfo(batch, "vxlan", () => {
      const { vni, port } = change.vxlan;
      batch.attributeU32(vxlan.id, vni).attributeU16be(vxlan.port, port);
      writeChangeable(batch, change.vxlan);
    });
  });
}

const writeLinkInfo = (batch: MessageBatch, kind: string, data: () => void): MessageBatch =>
  batch.nested(ifla.linkInfo, () => {
    batch.attributeText(linkInfoKind, kind).nested(linkInfoData, data);
  });

/** What the kernel changes on a VXLAN device that exists. */
function writeChangeable(
  batch: MessageBatch,
  { local, underlayIndex, learning }: VxlanParameters,
): void {
  batch.attributeU8(vxlan.learning, learning ? 1 : 0);
  if (underlayIndex !== undefined) batch.attributeU32(vxlan.link, underlayIndex);
  if (local !== undefined) {
    batch.attributeIp(familyOf(local) === 4 ? vxlan.local : vxlan.local6, local);
  }
}

/**
 * Settings of an existing link. IPv4 settings travel as link attributes, which saves the 76 µs of a
 * sysctl file each. `linkLocal` not together with `isUp`: see {@link writeAddressGeneration}.
 */
export function writeSetLink(
  batch: MessageBatch,
  target: LinkTarget,
  settings: LinkSettings,
): void {
  const { isUp, mtu, mac, alias, group, linkLocal, options = [] } = settings;
  const ipv4 = ipv4SettingsOf(settings);
  const { flags, mask } = flagsOf(options);
  const isOfType = areOfType(settings);
  // RTM_SETLINK takes nothing of a device's own type.
  batch.message(isOfType ? MessageType.NEWLINK : MessageType.SETLINK, 0, () => {
    const up = isUp === undefined ? 0 : flagUp;
    writeTarget(batch, target, flags | (isUp === true ? up : 0), mask | up);
    writeOptions(batch, "link", options);
    if (isOfType) {
      writeLinkInfo(batch, "vxlan", () => {
        if (settings.vxlan !== undefined) writeChangeable(batch, settings.vxlan);
        writeOptions(batch, "vxlan", options);
      });
    }
    if (mtu !== undefined) batch.attributeU32(ifla.mtu, mtu);
    if (mac !== undefined) batch.attributeMac(ifla.address, mac);
    if (alias !== undefined) writeAlias(batch, alias);
    if (group !== undefined) batch.attributeU32(ifla.group, group);
    if (ipv4.length === 0 && linkLocal === undefined) return;
    batch.nested(ifla.afSpec, () => {
      if (ipv4.length > 0) {
        batch.nested(afInet, () =>
          batch.nested(inetConf, () => {
            for (const [setting, value] of ipv4) batch.attributeU32(setting, value);
          }),
        );
      }
      if (linkLocal !== undefined) writeMode(batch, linkLocal);
    });
  });
}

/** Whether some are of the device's type, as a VXLAN device's tunnel is. */
export const areOfType = ({ vxlan, options = [] }: LinkSettings): boolean =>
  vxlan !== undefined || options.some(({ of }) => of === "vxlan");

const ipv4SettingsOf = ({
  forwarding,
  rpFilter,
  routeLocalnet,
}: LinkSettings): readonly (readonly [number, number])[] => [
  ...(rpFilter === undefined ? [] : [[devconf.rpFilter, rpFilter] as const]),
  ...(forwarding === undefined ? [] : [[devconf.forwarding, Number(forwarding)] as const]),
  ...(routeLocalnet === undefined ? [] : [[devconf.routeLocalnet, Number(routeLocalnet)] as const]),
];

/**
 * Whether the kernel makes an IPv6 link-local address. A message of its own, ahead of the one that
 * sets the link up: within one message the kernel sets it up first.
 */
export function writeAddressGeneration(
  batch: MessageBatch,
  target: LinkTarget,
  linkLocal: boolean,
): void {
  batch.message(MessageType.SETLINK, 0, () => {
    writeTarget(batch, target);
    batch.nested(ifla.afSpec, () => {
      writeMode(batch, linkLocal);
    });
  });
}

function writeMode(batch: MessageBatch, linkLocal: boolean): void {
  const mode = linkLocal ? addressGeneration.eui64 : addressGeneration.none;
  batch.nested(afInet6, () => batch.attributeU8(inet6AddressGeneration, mode));
}

export function writeRemoveLink(batch: MessageBatch, name: IfName): void {
  batch.message(MessageType.DELLINK, 0, () => {
    writeTarget(batch, name);
  });
}

export const writeSetGroup = (batch: MessageBatch, name: IfName, group: number): void =>
  batch.message(MessageType.SETLINK, 0, () => {
    writeTarget(batch, name);
    batch.attributeU32(ifla.group, group);
  });

const writeSetAlias = (batch: MessageBatch, name: IfName, alias: string): void =>
  batch.message(MessageType.SETLINK, 0, () => {
    writeTarget(batch, name);
    writeAlias(batch, alias);
  });

/** Without a zero at its end, which would be a part of it. */
const writeAlias = (batch: MessageBatch, alias: string): MessageBatch =>
  batch.attributeOctets(ifla.alias, Buffer.from(linkAlias(alias)));

/** Every link of the group at once: one wait for the kernel's read-copy-update, not one per link. */
export function writeRemoveGroup(batch: MessageBatch, group: number): void {
  batch.message(MessageType.DELLINK, 0, () => {
    writeIfinfo(batch, 0);
    batch.attributeU32(ifla.group, group);
  });
}

const flagsIn = (message: Message): number => message.u32(8);

export const decodeIsRunning = (message: Message): boolean =>
  (flagsIn(message) & flagRunning) !== 0;

export const linkIndexOf = (message: Message): number => message.u32(4);

export const isUpOf = (message: Message): boolean => (flagsIn(message) & flagUp) !== 0;

export const linkNameOf = (message: Message): string =>
  message.attributes(ifinfoLength).text(ifla.name) ?? "";

/** Undefined for a name that is no name here: the kernel lets names be anything but slash and space. */
export function decodeLink(message: Message): Link | undefined {
  const attributes = message.attributes(ifinfoLength);
  const name = parseIfName(attributes.text(ifla.name) ?? "");
  if (name === undefined) return undefined;
  const info = attributes.nested(ifla.linkInfo);
  const type = info?.text(linkInfoKind);
  const mac = attributes.octets(ifla.address);
  const alias = attributes.text(ifla.alias);
  const vxlanData = type === "vxlan" ? info?.nested(linkInfoData) : undefined;
  // Of a VXLAN device only its own parameters name the underlay.
  const linkIndex = attributes.u32(ifla.link) ?? vxlanData?.u32(vxlan.link);
  const altered =
    vxlanData && alteredOptions({ flags: flagsIn(message), link: attributes, vxlan: vxlanData });
  return {
    index: linkIndexOf(message),
    name,
    ...(type !== undefined && { type }),
    ...(mac?.length === 6 && { mac: macFromBytes(mac) }),
    mtu: attributes.u32(ifla.mtu) ?? 0,
    isUp: isUpOf(message),
    ...(alias !== undefined && { alias }),
    group: attributes.u32(ifla.group) ?? 0,
    ...(linkIndex !== undefined && linkIndex !== 0 && { linkIndex }),
    ...(vxlanData !== undefined && { vxlan: decodeVxlan(vxlanData) }),
    ...(altered !== undefined && altered.length > 0 && { altered }),
  };
}

function decodeVxlan(data: Attributes): VxlanParameters {
  const local = data.ip(vxlan.local) ?? data.ip(vxlan.local6);
  const underlayIndex = data.u32(vxlan.link);
  return {
    vni: data.u32(vxlan.id) ?? 0,
    port: data.u16be(vxlan.port) ?? 0,
    ...(local !== undefined && { local }),
    ...(underlayIndex !== undefined && underlayIndex !== 0 && { underlayIndex }),
    learning: data.u8(vxlan.learning) === 1,
  };
}
