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
import { type Known, itself } from "./known.ts";
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

  routes(filter: RouteFilter, known: Known<Route> = itself): readonly Route[] {
    const index = filter.device === undefined ? undefined : indexOf(this.#socket, filter.device);
    if (filter.device !== undefined && index === undefined) return [];
    const read = (names: ReadonlyMap<number, IfName>, onUnnamed = (): void => {}) => {
      const named = (decoded: DecodedRoute): Route | undefined => {
        const device = names.get(decoded.index);
        if (device === undefined) {
          onUnnamed();
          return undefined;
        }
        const route = decoded.toRoute(device);
        return isWanted(route, filter) ? known(route) : undefined;
      };
      return families.flatMap((family) => this.#routesOf(family, { filter, index, named }));
    };
    if (filter.device !== undefined && index !== undefined) {
      return read(new Map([[index, filter.device]]));
    }
    let isAllNamed = true;
    const routes = read(this.#deviceNames(), () => (isAllNamed = false));
    // A link came meanwhile, or has gone: of those that are still there each has its name now.
    return isAllNamed ? routes : read(this.#deviceNames());
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

  neighbors(device: IfName, known: Known<Neighbor> = itself): readonly Neighbor[] {
    return this.#ofDevice(device, (index) =>
      this.#dump(
        (batch) => writeGetNeighbors(batch, anyFamily, index),
        andThen(decodeNeighbor(device, index), known),
      ),
    );
  }

  fdb(device: IfName, known: Known<FdbEntry> = itself): readonly FdbEntry[] {
    return this.#ofDevice(device, (index) =>
      this.#dump(
        (batch) => writeGetNeighbors(batch, bridgeFamily, index),
        andThen(decodeFdbEntry(device, index), known),
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

  #routesOf(family: Family, { filter, index, named }: RouteDump): readonly Route[] {
    try {
      return this.#dump(
        (batch) => writeGetRoutes(batch, family, filter, index),
        andThen((message) => decodeRoute(message, family), named),
      );
    } catch (thrown) {
      // A table is made with its first route, and a device may have gone since.
      if (hasErrno(thrown, "ENOENT") || hasErrno(thrown, "ENODEV")) return [];
      throw thrown;
    }
  }

  /** By index. */
  #deviceNames(): ReadonlyMap<number, IfName> {
    const names = this.links().map(({ index, name }) => [index, name] as const);
    return new Map([[0, deviceOfDiscarding], ...names]);
  }

  #ofDevice<T>(device: IfName, read: (index: number) => readonly T[]): readonly T[] {
    const index = indexOf(this.#socket, device);
    if (index === undefined) return [];
    try {
      return read(index);
    } catch (thrown) {
      // It has gone since.
      if (hasErrno(thrown, "ENODEV")) return [];
      throw thrown;
    }
  }

  #dump<T>(
    write: (batch: MessageBatch) => void,
    decode: (message: Message) => T | undefined,
  ): readonly T[] {
    return this.#socket.dump(batchOf(write), decode);
  }
}

interface RouteDump {
  readonly filter: RouteFilter;
  readonly index: number | undefined;
  readonly named: (route: DecodedRoute) => Route | undefined;
}

const andThen =
  <A, B>(decode: (message: Message) => A | undefined, next: (object: A) => B | undefined) =>
  (message: Message): B | undefined => {
    const object = decode(message);
    return object && next(object);
  };

const isWanted = (route: Route, { protocol, table, device }: RouteFilter): boolean =>
  (protocol === undefined || route.protocol === protocol) &&
  (table === undefined || route.table === table) &&
  (device === undefined || route.device === device);
