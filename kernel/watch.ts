// Notifications: netlink multicast, read whenever the event loop sees the socket readable.
import { MessageType, MulticastGroups } from "netlink/dist/rt/gen_structs.js";
import { onReadable } from "./ffi.ts";
import type { KernelEvent, KernelObject } from "./kernel.ts";
import type { NetlinkSocket } from "./netlink.ts";

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

/**
 * Tells of changes, all that came within one turn of the event loop at once. The socket, which has
 * joined `watchedGroups`, is closed with the result.
 */
export function watchSocket(
  socket: NetlinkSocket,
  onChange: (event: KernelEvent) => void,
): Disposable {
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
    const { isLost, isEmpty } = socket.drain((type) => {
      const object = objectOf.get(type);
      if (object !== undefined) objects.add(object);
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
