// One network namespace through its netlink socket: changes out, objects in.
import type { Family, Ip } from "../core/address.ts";
import { hasErrno } from "../core/error.ts";
import type { IfName } from "../core/names.ts";
import type {
  Change,
  FdbEntry,
  InterfaceAddress,
  Link,
  Neighbor,
  ObservedShaping,
  Route,
} from "../core/network.ts";
import { decodeAddress, writeGetAddresses } from "./address.ts";
import { ChangeSender, indexOf } from "./change-sender.ts";
import type { DeviceFeatures } from "./device-feature.ts";
import { changeError } from "./errno.ts";
import { bridgeFamily, decodeFdbEntry } from "./fdb.ts";
import type { NetworkNamespace, RouteFilter } from "./kernel.ts";
import { decodeIsRunning, decodeLink, writeGetLink } from "./link.ts";
import { type MessageBatch, batchOf } from "./message.ts";
import type { Message } from "./received.ts";
import { decodeNeighbor, writeGetNeighbors } from "./neighbor.ts";
import type { NetlinkSocket } from "./netlink.ts";
import { decodeShaping, writeGetQdisc } from "./qdisc.ts";
import {
  type DecodedRoute,
  decodeRoute,
  deviceOfDiscarding,
  writeFindRoute,
  writeGetRoutes,
} from "./route.ts";

const anyFamily = 0;
const noRoute = ["ENETUNREACH", "EHOSTUNREACH", "EACCES", "EINVAL"] as const;
const families: readonly Family[] = [4, 6];

export class LinuxNamespace implements NetworkNamespace {
  readonly #open: () => NetlinkSocket;
  readonly #features: DeviceFeatures | undefined;

  /**
   * Asked for the socket with every call; it stays the caller's, who closes it.
   * @param features absent: nothing is told of VXLAN devices', and none are set.
   */
  constructor(socket: () => NetlinkSocket, features?: DeviceFeatures) {
    this.#open = socket;
    this.#features = features;
  }

  get #socket(): NetlinkSocket {
    return this.#open();
  }

  apply(changes: readonly Change[]): void {
    const sender = new ChangeSender(this.#socket);
    for (const change of changes) sender.add(change);
    try {
      sender.finish();
    } finally {
      for (const change of changes) if (change.kind === "set-link") this.#setFeatures(change);
    }
  }

  #setFeatures(change: Extract<Change, { readonly kind: "set-link" }>): void {
    const { device, settings } = change;
    const options = settings.options?.filter((option) => option.of === "feature") ?? [];
    const failure = options.length === 0 ? undefined : this.#features?.set(device, options);
    if (failure !== undefined) throw changeError(change, failure.errno, failure.kernelMessage);
  }

  links(): readonly Link[] {
    return this.#dump((batch) => writeGetLink(batch), decodeLink);
  }

  link(name: string): Link | undefined {
    const link = this.#socket.get(
      batchOf((batch) => writeGetLink(batch, name)),
      decodeLink,
    );
    if (link?.vxlan === undefined) return link;
    const features = this.#features?.altered(link.name) ?? [];
    return features.length === 0
      ? link
      : { ...link, altered: [...(link.altered ?? []), ...features] };
  }

  // Not by SIOCGIFFLAGS, which costs less: for this question alone the kernel brings what it knows of the
  // carrier up to date first (rtnl_getlink, linkwatch_sync_dev).
  isRunning(device: IfName): boolean {
    const request = batchOf((batch) => writeGetLink(batch, device));
    return this.#socket.get(request, decodeIsRunning) ?? false;
  }

  addresses(device: IfName): readonly InterfaceAddress[] {
    return this.#ofDevice(device, (index) =>
      this.#dump((batch) => writeGetAddresses(batch, index), decodeAddress(device, index)),
    );
  }

  routes(filter: RouteFilter): readonly Route[] {
    const index = filter.device === undefined ? undefined : indexOf(this.#socket, filter.device);
    if (filter.device !== undefined && index === undefined) return [];
    const decoded = families.flatMap((family) => this.#routesOf(family, filter, index));
    const nameOf =
      filter.device === undefined || index === undefined
        ? this.#deviceNames(decoded)
        : nameOfOne(index, filter.device);
    return decoded
      .flatMap((route) => {
        const device = nameOf(route);
        return device === undefined ? [] : [route.toRoute(device)];
      })
      .filter((route) => isWanted(route, filter));
  }

  isRouted(address: Ip, index: number): boolean {
    const request = batchOf((batch) => writeFindRoute(batch, address, index));
    try {
      return this.#socket.get(request, () => true) ?? false;
    } catch (thrown) {
      // What the kernel answers is the route's type: unreachable, prohibit, blackhole.
      if (noRoute.some((errno) => hasErrno(thrown, errno))) return false;
      throw thrown;
    }
  }

  neighbors(device: IfName): readonly Neighbor[] {
    return this.#ofDevice(device, (index) =>
      this.#dump(
        (batch) => writeGetNeighbors(batch, anyFamily, index),
        decodeNeighbor(device, index),
      ),
    );
  }

  fdb(device: IfName): readonly FdbEntry[] {
    return this.#ofDevice(device, (index) =>
      this.#dump(
        (batch) => writeGetNeighbors(batch, bridgeFamily, index),
        decodeFdbEntry(device, index),
      ),
    );
  }

  shaping(device: IfName): ObservedShaping | undefined {
    const index = indexOf(this.#socket, device);
    if (index === undefined) return undefined;
    const request = batchOf((batch) => writeGetQdisc(batch, index));
    const found = this.#socket.get(request, decodeShaping);
    return found && { device, ...found };
  }

  #routesOf(family: Family, filter: RouteFilter, index: number | undefined) {
    try {
      return this.#dump(
        (batch) => writeGetRoutes(batch, family, filter, index),
        (message) => decodeRoute(message, family),
      );
    } catch (thrown) {
      // A table is made with its first route.
      if (hasErrno(thrown, "ENOENT")) return [];
      throw thrown;
    }
  }

  /** Names of the routes' devices. A link that came after the routes were read has none. */
  #deviceNames(routes: readonly DecodedRoute[]): (route: DecodedRoute) => IfName | undefined {
    const names = new Map<number, IfName>([[0, deviceOfDiscarding]]);
    if (routes.length > 0) for (const { index, name } of this.links()) names.set(index, name);
    return ({ index }) => names.get(index);
  }

  #ofDevice<T>(device: IfName, read: (index: number) => readonly T[]): readonly T[] {
    const index = indexOf(this.#socket, device);
    return index === undefined ? [] : read(index);
  }

  #dump<T>(
    write: (batch: MessageBatch) => void,
    decode: (message: Message) => T | undefined,
  ): readonly T[] {
    return this.#socket.dump(batchOf(write), decode);
  }
}

/** Of routes over one device, where all links need not be asked for. */
const nameOfOne =
  (index: number, name: IfName) =>
  (route: DecodedRoute): IfName | undefined =>
    route.index === index ? name : undefined;

const isWanted = (route: Route, { protocol, table, device }: RouteFilter): boolean =>
  (protocol === undefined || route.protocol === protocol) &&
  (table === undefined || route.table === table) &&
  (device === undefined || route.device === device);
