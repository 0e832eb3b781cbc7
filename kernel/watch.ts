// Notifications: netlink multicast, read whenever the event loop sees the socket readable.
import { MessageType, MulticastGroups } from "netlink/dist/rt/gen_structs.js";
import { type IfName, parseIfName } from "../core/names.ts";
import type { ObjectChange } from "../core/network-change.ts";
import type { Link } from "../core/network.ts";
import { familyFrom } from "./family.ts";
import { bridgeFamily, decodeFdbEntry } from "./fdb.ts";
import type { KernelEvent, KernelObject, WatchApart } from "./kernel.ts";
import { isUpOf, linkIndexOf, linkNameOf } from "./link.ts";
import { decodeNeighborChange } from "./neighbor.ts";
import type { NetlinkSocket } from "./netlink.ts";
import { type Reading, readNotifications } from "./notifications.ts";
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
const addressRemoved: number = MessageType.DELADDR;
const routeRemoved: number = MessageType.DELROUTE;
const neighborRemoved: number = MessageType.DELNEIGH;

/** More are not told one by one: it is less to read everything than to keep them. */
const changesMax = 16_384;

type Known = Pick<Link, "name" | "isUp">;

/** Only notifications of links carry a name, so it learns which index is whose, and which links are up. */
class KnownDevices {
  #links = new Map<number, Known>();

  /** In the place of all that it knows. */
  learnAll(links: readonly Link[]): void {
    this.#links = new Map(links.map(({ name, index, isUp }) => [index, { name, isUp }]));
  }

  /** `isDown`: it was up, and is not any more. `former`: its name until now, if that was another. */
  learn(message: Message): { readonly isDown: boolean; readonly former?: IfName } {
    const index = linkIndexOf(message);
    const name = parseIfName(linkNameOf(message));
    const before = this.#links.get(index);
    const isUp = message.type !== linkRemoved && isUpOf(message);
    if (name === undefined || message.type === linkRemoved) this.#links.delete(index);
    else this.#links.set(index, { name, isUp });
    const isRenamed = before !== undefined && before.name !== name;
    return {
      isDown: before?.isUp === true && !isUp,
      ...(isRenamed && { former: before.name }),
    };
  }

  nameOf(index: number): IfName | undefined {
    return this.#links.get(index)?.name;
  }
}

export interface Watch {
  /** It has joined `watchedGroups`, and is closed with the watch. */
  readonly socket: NetlinkSocket;
  readonly onChange: (event: KernelEvent) => void;
  readonly apart?: WatchApart | undefined;
  /** By its port, whether nothing is told of a socket's doing. */
  readonly isLeftOut: (sender: number) => boolean;
  /** All there are: asked for once the socket has joined, and after each loss. */
  readonly links: () => readonly Link[];
}

/** What is to be told next. */
class Pending {
  readonly #objects = new Set<KernelObject>();
  readonly #devices = new Set<string>();
  readonly #lossy = new Set<string>();
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

  addLossy(device: string): void {
    this.#lossy.add(device);
  }

  event(): KernelEvent {
    const [objects, devices, changes] = [this.#objects, this.#devices, this.#changes];
    return { objects, devices, lossy: this.#lossy, changes, overflow: this.overflow };
  }
}

/** Tells of changes, all that came within two milliseconds at once. */
export function watchSocket({ socket, onChange, apart, isLeftOut, links }: Watch): Reading {
  const devices = new KnownDevices();
  devices.learnAll(links());
  const main = new Told(onChange);
  const others = apart && new Told(apart.onChange);
  const toldOf = (name: string | undefined): Told =>
    others !== undefined && name !== undefined && apart?.includes(name) === true ? others : main;
  const onMessage = (message: Message): void => {
    const object = objectOf.get(message.type);
    if (object === undefined) return;
    if (object === "link") {
      const name = linkNameOf(message);
      const { next } = toldOf(name);
      const { isDown, former } = devices.learn(message);
      if (isDown) next.addLossy(name);
      next.add(object, name, undefined);
      if (former !== undefined) {
        // Under the name that it had there is no device now, and what happens on one while it has another name
        // is not told as of it.
        const { next: formerNext } = toldOf(former);
        formerNext.add(object, former, undefined);
        formerNext.addLossy(former);
        next.addLossy(name);
      }
      return;
    }
    const { sender } = message;
    if (sender !== 0 && isLeftOut(sender)) return;
    const index = object === "route" ? outputIndexOf(message) : linkIndexOf(message);
    const name = devices.nameOf(index);
    const { next } = toldOf(name);
    if (message.type === addressRemoved && name !== undefined) next.addLossy(name);
    next.add(object, name, object === "address" ? undefined : decodeChange(message, name));
  };
  let mustLearn = false;
  const onRead = (isLost: boolean): void => {
    mustLearn ||= isLost;
    try {
      // Who does not know a device hears nothing of what is on it.
      if (mustLearn) devices.learnAll(links());
      mustLearn = false;
    } catch {
      // The kernel has no time for it: again with what comes next.
    }
    main.tell(isLost);
    others?.tell(isLost);
  };
  return readNotifications(socket, { onMessage, onRead });
}

/** Somebody who is told, and what next. */
class Told {
  readonly #onChange: (event: KernelEvent) => void;
  next = new Pending();

  constructor(onChange: (event: KernelEvent) => void) {
    this.#onChange = onChange;
  }

  tell(isLost: boolean): void {
    const { next } = this;
    if (isLost) next.overflow = true;
    if (next.isEmpty) return;
    this.next = new Pending();
    this.#onChange(next.event());
  }
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
