// Notifications: netlink multicast, read whenever the event loop sees the socket readable.
import { MessageType, MulticastGroups } from "netlink/dist/rt/gen_structs.js";
import type { Link } from "../core/network.ts";
import { onReadable } from "./ffi.ts";
import type { KernelEvent, KernelObject } from "./kernel.ts";
import { linkIndexOf, linkNameOf } from "./link.ts";
import type { NetlinkSocket } from "./netlink.ts";
import type { Message } from "./received.ts";
import { outputIndexOf } from "./route.ts";

export const watchedGroups: readonly number[] = [
  MulticastGroups.LINK,
  MulticastGroups.NEIGH,
  MulticastGroups.IPV4_IFADDR,
  MulticastGroups.IPV6_IFADDR,
  MulticastGroups.IPV4_ROUTE,
  MulticastGroups.IPV6_ROUTE,
];

const objectOf = new Map<number, KernelObject>([
  [MessageType.NEWLINK, "link"],
  [MessageType.DELLINK, "link"],
  [MessageType.NEWADDR, "address"],
  [MessageType.DELADDR, "address"],
  [MessageType.NEWROUTE, "route"],
  [MessageType.DELROUTE, "route"],
  [MessageType.NEWNEIGH, "neighbor"],
  [MessageType.DELNEIGH, "neighbor"],
]);

const linkRemoved: number = MessageType.DELLINK;

/** Says which notifications nobody wants. Only those of links carry a name, so it learns indexes. */
class IgnoredDevices {
  readonly #isIgnored: (name: string) => boolean;
  readonly #indexes: Set<number>;

  constructor(isIgnored: (name: string) => boolean, links: readonly Link[]) {
    this.#isIgnored = isIgnored;
    this.#indexes = new Set(links.filter(({ name }) => isIgnored(name)).map(({ index }) => index));
  }

  covers(message: Message, object: KernelObject): boolean {
    if (object === "route") return this.#indexes.has(outputIndexOf(message));
    // At the same place in struct ifinfomsg, ifaddrmsg and ndmsg.
    const index = linkIndexOf(message);
    if (object !== "link") return this.#indexes.has(index);
    const isIgnored = this.#isIgnored(linkNameOf(message));
    if (isIgnored && message.type !== linkRemoved) this.#indexes.add(index);
    else this.#indexes.delete(index);
    return isIgnored;
  }
}

export interface Watch {
  /** It has joined `watchedGroups`, and is closed with the watch. */
  readonly socket: NetlinkSocket;
  readonly onChange: (event: KernelEvent) => void;
  readonly isIgnored?: ((device: string) => boolean) | undefined;
  /** All there are, once the socket has joined. */
  readonly links: () => readonly Link[];
}

/** Tells of changes, all that came within one turn of the event loop at once. */
export function watchSocket({ socket, onChange, isIgnored, links }: Watch): Disposable {
  const ignored = isIgnored && new IgnoredDevices(isIgnored, links());
  let objects = new Set<KernelObject>();
  let isOverflow = false;
  let isLossUntold = false;
  let pending: NodeJS.Immediate | undefined;

  const tell = (): void => {
    pending = undefined;
    const event = { objects, overflow: isOverflow };
    objects = new Set();
    isOverflow = false;
    onChange(event);
  };
  const polling = onReadable(socket.fd, () => {
    const { isLost, isEmpty } = socket.drain((message) => {
      const object = objectOf.get(message.type);
      if (object === undefined || ignored?.covers(message, object) === true) return;
      objects.add(object);
    });
    isLossUntold ||= isLost;
    // Told when all is read, for until then the kernel goes on dropping: a comparison now would miss
    // what is dropped after it.
    if (isLossUntold && isEmpty) {
      isLossUntold = false;
      isOverflow = true;
    }
    if (objects.size > 0 || isOverflow) pending ??= setImmediate(tell);
  });
  return {
    [Symbol.dispose]: () => {
      polling[Symbol.dispose]();
      if (pending !== undefined) clearImmediate(pending);
      socket[Symbol.dispose]();
    },
  };
}
