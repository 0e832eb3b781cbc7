// Notifications: netlink multicast, read whenever the event loop sees the socket readable.
import { MessageType, MulticastGroups } from "netlink/dist/rt/gen_structs.js";
import { type IfName, parseIfName } from "../core/names.ts";
import type { ObjectChange } from "../core/network-change.ts";
import type { Link } from "../core/network.ts";
import { familyFrom } from "./family.ts";
import { bridgeFamily, decodeFdbEntry } from "./fdb.ts";
import { onReadable } from "./ffi.ts";
import type { KernelEvent, KernelObject } from "./kernel.ts";
import { linkIndexOf, linkNameOf } from "./link.ts";
import { decodeNeighborChange } from "./neighbor.ts";
import type { NetlinkSocket } from "./netlink.ts";
import type { Message } from "./received.ts";
import { decodeRoute, deviceOfDiscarding, outputIndexOf } from "./route.ts";

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
const routeRemoved: number = MessageType.DELROUTE;
const neighborRemoved: number = MessageType.DELNEIGH;

/** More are not told one by one: who is told of so many reads everything faster. */
const changesMax = 1024;

/** Only notifications of links carry a name, so it learns which index is whose, and which nobody wants. */
class KnownDevices {
  readonly #isIgnored: (name: string) => boolean;
  readonly #names: Map<number, IfName>;

  constructor(isIgnored: (name: string) => boolean, links: readonly Link[]) {
    this.#isIgnored = isIgnored;
    this.#names = new Map(links.map(({ name, index }) => [index, name]));
  }

  learn(message: Message): void {
    const index = linkIndexOf(message);
    const name = parseIfName(linkNameOf(message));
    if (name === undefined || message.type === linkRemoved) this.#names.delete(index);
    else this.#names.set(index, name);
  }

  nameOf(index: number): IfName | undefined {
    return this.#names.get(index);
  }

  ignores(name: string | undefined): boolean {
    return name !== undefined && this.#isIgnored(name);
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

/** What is to be told next. */
class Pending {
  readonly #objects = new Set<KernelObject>();
  readonly #devices = new Set<string>();
  #changes: ObjectChange[] | "many" = [];
  overflow = false;

  get isEmpty(): boolean {
    return this.#objects.size === 0 && !this.overflow;
  }

  add(object: KernelObject, device: string | undefined, change: ObjectChange | undefined): void {
    this.#objects.add(object);
    if (change === undefined) {
      if (device !== undefined && (object === "link" || object === "address")) {
        this.#devices.add(device);
      }
    } else if (this.#changes !== "many") {
      this.#changes.push(change);
      if (this.#changes.length > changesMax) this.#changes = "many";
    }
  }

  event(): KernelEvent {
    const [objects, devices, changes] = [this.#objects, this.#devices, this.#changes];
    return { objects, devices, changes, overflow: this.overflow };
  }
}

/**
 * From the first notification to reading it: changes come several at once, and who has just changed
 * something for somebody answers first.
 */
const gatherMs = 2;

/** Tells of changes, all that came within two milliseconds at once. */
export function watchSocket({ socket, onChange, isIgnored, links }: Watch): Disposable {
  const devices = new KnownDevices(isIgnored ?? (() => false), links());
  let next = new Pending();
  let isLossUntold = false;
  let gathering: NodeJS.Timeout | undefined;

  const tell = (): void => {
    const event = next.event();
    next = new Pending();
    onChange(event);
  };
  const read = (message: Message): void => {
    const object = objectOf.get(message.type);
    if (object === undefined) return;
    if (object === "link") {
      const name = linkNameOf(message);
      devices.learn(message);
      if (!devices.ignores(name)) next.add(object, name, undefined);
      return;
    }
    const index = object === "route" ? outputIndexOf(message) : linkIndexOf(message);
    const name = devices.nameOf(index);
    if (devices.ignores(name)) return;
    next.add(object, name, object === "address" ? undefined : decodeChange(message, name));
  };
  const readAll = (): void => {
    const { isLost, isEmpty } = socket.drain(read);
    isLossUntold ||= isLost;
    // Told when all is read, for until then the kernel goes on dropping: a comparison now would miss
    // what is dropped after it.
    if (isLossUntold && isEmpty) {
      isLossUntold = false;
      next.overflow = true;
    }
    polling.resume();
    if (!next.isEmpty) tell();
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

/** Undefined for what the lists of the namespace leave out too. */
function decodeChange(message: Message, device: IfName | undefined): ObjectChange | undefined {
  if (objectOf.get(message.type) === "route") {
    return decodeRouteChange(message, device);
  }
  if (device === undefined) return undefined;
  if (message.u8(0) !== bridgeFamily) return decodeNeighborChange(message, device);
  const item = decodeFdbEntry(device, linkIndexOf(message))(message);
  return item && { kind: message.type === neighborRemoved ? "fdb-gone" : "fdb", item };
}

function decodeRouteChange(message: Message, device: IfName | undefined): ObjectChange | undefined {
  const family = familyFrom(message.u8(0));
  const decoded = family && decodeRoute(message, family);
  const name = decoded?.index === 0 ? deviceOfDiscarding : device;
  if (decoded === undefined || name === undefined) return undefined;
  const item = decoded.toRoute(name);
  return { kind: message.type === routeRemoved ? "route-gone" : "route", item };
}
