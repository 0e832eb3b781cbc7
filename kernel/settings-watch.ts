// Notifications of what is no object on a link: nftables tables, and the kernel settings of routing. On
// sockets of their own, so that another program's large ruleset crowds out nothing else.
import { Protocol } from "netlink/dist/constants.js";
import { onReadable } from "./ffi.ts";
import type { KernelEvent, KernelObject } from "./kernel.ts";
import type { NetlinkSocket } from "./netlink.ts";
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
/** <linux/netconf.h>. */
const netconf = { index: 1, forwarding: 2, rpFilter: 3 } as const;
/** NETCONFA_IFINDEX_ALL: of `conf/all`. */
const indexOfAll = 0xffff_ffff;

export interface SettingsWatch {
  readonly open: (protocol: Protocol, options: NetlinkOptions) => NetlinkSocket;
  readonly onChange: (event: KernelEvent) => void;
  /** The nftables table to tell of. */
  readonly table: string;
  /** Of the socket by which we change it ourselves; undefined before it was used. */
  readonly ownPort: () => number | undefined;
}

/** Tells of settings that somebody has changed, and of the table when it was not us. */
export function watchSettings({ open, onChange, table, ownPort }: SettingsWatch): Disposable {
  using stack = new DisposableStack();
  const tell = (object: KernelObject) => (): void =>
    onChange({ objects: new Set([object]), devices: new Set(), changes: [], overflow: false });
  stack.use(watchFor(open(Protocol.ROUTE, { groups: netconfGroups }), isOfRouting, tell("sysctl")));
  // A ruleset of thousands of services comes in one piece.
  const socket = open(Protocol.NETFILTER, { groups: [nftablesGroup] });
  const isOthers = (message: Message): boolean =>
    tableOf(message) === table && message.sender !== ownPort();
  stack.use(watchFor(socket, isOthers, tell("nftables")));
  return stack.move();
}

/**
 * A setting of all devices, or one device's filter alone. That a device is new is told too, with all its
 * settings, and there are many of those.
 */
function isOfRouting(message: Message): boolean {
  if (message.type !== newNetconf) return false;
  const attributes = message.attributes(netconfLength);
  if (attributes.u32(netconf.index) === indexOfAll) return true;
  return attributes.has(netconf.rpFilter) && !attributes.has(netconf.forwarding);
}

/** From the first notification to reading it: a transaction has many. */
const gatherMs = 2;

/** Calls back after messages of which one is wanted, or of which some were lost. */
function watchFor(
  socket: NetlinkSocket,
  isWanted: (message: Message) => boolean,
  callback: () => void,
): Disposable {
  let gathering: NodeJS.Timeout | undefined;
  let isTold = false;
  const readAll = (): void => {
    const { isLost, isEmpty } = socket.drain((message) => {
      isTold ||= isWanted(message);
    });
    isTold ||= isLost;
    polling.resume();
    // While some wait, others may still be dropped.
    if (!isTold || !isEmpty) return;
    isTold = false;
    callback();
  };
  const polling = onReadable(socket.fd, () => {
    polling.pause();
    gathering = setTimeout(readAll, gatherMs);
  });
  return {
    [Symbol.dispose]: () => {
      polling[Symbol.dispose]();
      clearTimeout(gathering);
      socket[Symbol.dispose]();
    },
  };
}
