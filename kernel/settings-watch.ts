// Notifications of what is no object on a link: nftables tables, and the kernel settings of routing. On
// sockets of their own, so that another program's large ruleset crowds out nothing else.
import { Protocol } from "netlink/dist/constants.js";
import type { KernelEvent, KernelObject, WatchApart } from "./kernel.ts";
import type { NetlinkSocket } from "./netlink.ts";
import { readNotifications } from "./notifications.ts";
import { tableOf } from "./nft-message.ts";
import type { NetlinkOptions } from "./open-netlink.ts";
import type { Message } from "./received.ts";

/** NFNLGRP_NFTABLES of <linux/netfilter/nfnetlink.h>. */
const nftablesGroup = 7;
/** RTNLGRP_IPV4_NETCONF, RTNLGRP_IPV6_NETCONF of <linux/rtnetlink.h>. */
const netconfGroups = [24, 25] as const;
/** RTM_NEWNETCONF. */
const newNetconf = 80;
/** struct netconfmsg: the family, padded. */
const netconfLength = 4;
const afInet = 2;
/** <linux/netconf.h>. */
const netconf = {
  index: 1,
  forwarding: 2,
  rpFilter: 3,
  /** NETCONFA_IFINDEX_ALL: of `conf/all`. */
  indexOfAll: 0xffff_ffff,
} as const;

export interface SettingsWatch {
  readonly open: (protocol: Protocol, options: NetlinkOptions) => NetlinkSocket;
  readonly onChange: (event: KernelEvent) => void;
  readonly apart?: WatchApart | undefined;
  /** The name of the link that has this index. */
  readonly nameOf: (index: number) => string | undefined;
  /** The nftables table to tell of. */
  readonly table: string;
  /** Of the socket by which we change it ourselves; undefined before it was used. */
  readonly ownPort: () => number | undefined;
}

/** Tells of settings that somebody has changed, and of the table when it was not us. */
export function watchSettings(watch: SettingsWatch): Disposable {
  const { open, onChange, table, ownPort } = watch;
  using stack = new DisposableStack();
  stack.use(watchRouting(open(Protocol.ROUTE, { groups: netconfGroups }), watch));
  // A ruleset of thousands of services comes in one piece.
  const socket = open(Protocol.NETFILTER, { groups: [nftablesGroup] });
  let isTold = false;
  stack.use(
    readNotifications(socket, {
      onMessage: (message) => {
        isTold ||= tableOf(message) === table && message.sender !== ownPort();
      },
      onRead: (isLost) => {
        if (isTold || isLost) onChange(eventOf("nftables"));
        isTold = false;
      },
    }),
  );
  return stack.move();
}

/** A device is only named where somebody else is told of it. */
function watchRouting(
  socket: NetlinkSocket,
  { onChange, apart, nameOf }: SettingsWatch,
): Disposable {
  const indexes = new Set<number>();
  return readNotifications(socket, {
    onMessage: (message) => {
      const index = changedIndex(message);
      if (index !== undefined) indexes.add(index);
    },
    onRead: (isLost) => {
      const names = Array.from(indexes, (index) =>
        index === netconf.indexOfAll || apart === undefined ? undefined : nameOf(index),
      );
      indexes.clear();
      const others = names.flatMap((name) =>
        name !== undefined && apart?.includes(name) === true ? [name] : [],
      );
      if (others.length < names.length || isLost) onChange(eventOf("sysctl"));
      if (others.length > 0) apart?.onChange(eventOf("sysctl", others));
    },
  });
}

const eventOf = (object: KernelObject, devices: readonly string[] = []): KernelEvent => ({
  objects: new Set([object]),
  devices: new Set(devices),
  lossy: new Set(),
  changes: [],
  overflow: false,
});

/**
 * A setting of all devices, or one device's filter or forwarding alone, of IPv4. That a device is new is told
 * too, with all its settings, and there are many of those.
 */
function changedIndex(message: Message): number | undefined {
  if (message.type !== newNetconf) return undefined;
  const attributes = message.attributes(netconfLength);
  const index = attributes.u32(netconf.index);
  const isAlone = attributes.has(netconf.rpFilter) !== attributes.has(netconf.forwarding);
  const isIpv4 = message.u8(0) === afInet;
  return index === netconf.indexOfAll || (isIpv4 && isAlone) ? index : undefined;
}
