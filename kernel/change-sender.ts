// Changes as messages of one batch.
import { familyOf } from "../core/address.ts";
import { assertNever } from "../core/assert.ts";
import type { KernelError } from "../core/error.ts";
import type { IfName } from "../core/names.ts";
import {
  type Change,
  type LinkSettings,
  type Route,
  deviceOf,
  isDiscarding,
} from "../core/network.ts";
import { writeAddAddress, writeRemoveAddress } from "./address.ts";
import { changeError } from "./errno.ts";
import { writeRemoveFdb, writeReplaceFdb } from "./fdb.ts";
import {
  areOfType,
  type LinkTarget,
  linkIndexOf,
  writeAddVeth,
  writeAddVxlan,
  writeAddressGeneration,
  writeGetLink,
  writeRemoveLink,
  writeSetLink,
} from "./link.ts";
import { MessageBatch, batchOf } from "./message.ts";
import { writeRemoveNeighbor, writeReplaceNeighbor } from "./neighbor.ts";
import type { BegunBatch, MessageFailure, NetlinkSocket } from "./netlink.ts";
import { writeReplaceShaping } from "./qdisc.ts";
import { writeAddRoute, writeRemoveAnyRoute, writeRemoveRoute } from "./route.ts";

/** Undefined when there is no link of this name. */
export const indexOf = (socket: NetlinkSocket, name: string): number | undefined =>
  socket.get(
    batchOf((batch) => writeGetLink(batch, name)),
    linkIndexOf,
  );

/** Of most changes every failure is one. */
const none: readonly string[] = [];

/** Which change a message belongs to, and which failures of it are none. */
interface Origin {
  readonly change: Change;
  readonly position: number;
  readonly tolerated: readonly string[];
  /** Writes what is to be sent in its place after a tolerated failure. */
  readonly otherwise?: (() => void) | undefined;
}

/**
 * Collects changes into one batch. It is sent early only when what follows is about a device that the
 * batch makes or removes. Even where the caller chose the index of a new device: had it not been made,
 * because another one has that index, all the rest would be done to that other one.
 */
export class ChangeSender {
  readonly #socket: NetlinkSocket;
  readonly #batch = new MessageBatch();
  readonly #origins: Origin[] = [];
  readonly #indexes: Map<string, number>;
  /** Devices that messages not sent yet make, at this index if the caller chose one, or remove. */
  readonly #unsettled = new Map<string, number | undefined>();
  /** Devices that could not be made: there may be others of their names. */
  readonly #unmade = new Set<string>();
  #position = 0;
  #firstFailure: { readonly position: number; readonly error: KernelError } | undefined;

  /** @param indexes of devices, by name, as far as they are known: it learns more. */
  constructor(socket: NetlinkSocket, indexes = new Map<string, number>()) {
    this.#socket = socket;
    this.#indexes = indexes;
  }

  add(change: Change): void {
    const isUnmade = this.#unmade.size > 0 && this.#unmade.has(deviceOf(change));
    if (isUnmade) this.#fail(this.#originOf(change), "ENODEV", "");
    else this.#write(change);
    this.#position++;
  }

  /** Sends what is left; throws the first failure of all. */
  finish(): void {
    this.#flush();
    if (this.#firstFailure !== undefined) throw this.#firstFailure.error;
  }

  /** As {@link finish}, by another socket and off the event loop. */
  async finishOffLoop(socket: NetlinkSocket): Promise<void> {
    this.#settle(await socket.sendOffLoop(this.#batch));
    if (this.#firstFailure !== undefined) throw this.#firstFailure.error;
  }

  /** As {@link finish}, begun by another socket from another thread. */
  begin(socket: NetlinkSocket): BegunBatch {
    return socket.begin(this.#batch);
  }

  /** Throws the first failure of what was begun. */
  finishBegun({ failures }: BegunBatch): void {
    this.#settle(failures());
    if (this.#firstFailure !== undefined) throw this.#firstFailure.error;
  }

  #write(change: Change): void {
    const batch = this.#batch;
    switch (change.kind) {
      case "add-veth":
        writeAddVeth(batch, change);
        this.#unsettled.set(change.host.name, change.host.index);
        return this.#written(change);
      case "add-vxlan":
        writeAddVxlan(batch, change);
        this.#unsettled.set(change.name, undefined);
        return this.#written(change);
      case "set-link": {
        if (change.index !== undefined && !this.#unsettled.has(change.device)) {
          this.#indexes.set(change.device, change.index);
        }
        const target = this.#targetOf(change);
        if (target !== undefined) this.#writeSettings(change, target, change.settings);
        return;
      }
      case "remove-link":
        writeRemoveLink(batch, change.device);
        this.#indexes.delete(change.device);
        this.#unsettled.set(change.device, undefined);
        return this.#written(change, ["ENODEV"]);
      case "add-address":
      case "remove-address":
        return this.#writeAddress(change);
      case "add-route":
      case "replace-route":
      case "remove-route":
        return this.#writeRoute(change);
      case "replace-shaping": {
        const index = this.#indexOf(change, change.shaping.device, none);
        if (index === undefined) return;
        writeReplaceShaping(batch, change.shaping, index);
        return this.#written(change);
      }
      default:
        return this.#writeNeighbor(change);
    }
  }

  /** The name where nothing needs the index: the kernel finds the device without being asked first. */
  #targetOf(change: Extract<Change, { readonly kind: "set-link" }>): LinkTarget | undefined {
    const { device } = change;
    const isKnown = this.#indexes.has(device) || this.#unsettled.has(device);
    return isKnown ? this.#indexOf(change, device, none) : device;
  }

  #writeSettings(change: Change, target: LinkTarget, settings: LinkSettings): void {
    const { mtu, ...others } = settings;
    if (mtu !== undefined && areOfType(others)) {
      // In one message with these Linux takes an MTU of a new VXLAN device only.
      this.#writeSettings(change, target, others);
      return this.#writeSettings(change, target, { mtu });
    }
    const { linkLocal, ...rest } = settings;
    const hasMore = Object.values(rest).some((value) => value !== undefined);
    // A device without IPv6 has no link-local address either.
    const tolerated = linkLocal === false ? ["EAFNOSUPPORT"] : none;
    if (linkLocal === false && hasMore && rest.isUp === undefined) {
      // The kernel refuses such a message as a whole, before anything of it is done.
      writeSetLink(this.#batch, target, settings);
      return this.#written(change, tolerated, () => this.#writeSettings(change, target, rest));
    }
    if (linkLocal !== undefined) {
      writeAddressGeneration(this.#batch, target, linkLocal);
      this.#written(change, tolerated);
    }
    if (hasMore) {
      writeSetLink(this.#batch, target, rest);
      this.#written(change);
    }
  }

  #writeAddress(
    change: Extract<Change, { readonly kind: "add-address" | "remove-address" }>,
  ): void {
    const { address, kind } = change;
    const tolerated = kind === "add-address" ? none : ["EADDRNOTAVAIL", "ENODEV"];
    const index = this.#indexOf(change, address.device, tolerated);
    if (index === undefined) return;
    (kind === "add-address" ? writeAddAddress : writeRemoveAddress)(this.#batch, address, index);
    this.#written(change, tolerated);
  }

  #writeRoute(
    change: Extract<Change, { readonly kind: "add-route" | "replace-route" | "remove-route" }>,
  ): void {
    const { route, kind } = change;
    const tolerated = kind === "remove-route" ? ["ESRCH", "ENODEV"] : none;
    const index = isDiscarding(route.type) ? 0 : this.#indexOf(change, route.device, tolerated);
    if (index === undefined) return;
    if (kind === "remove-route") writeRemoveRoute(this.#batch, route, index);
    else writeAddRoute(this.#batch, route, index, kind === "replace-route");
    const isOnlinkIpv6 = route.onlink === true && familyOf(route.destination) === 6;
    if (kind !== "replace-route" || !isOnlinkIpv6) return this.#written(change, tolerated);
    this.#written(change, ["EINVAL"], () => this.#writeRouteAnew(change, route, index));
  }

  /**
   * IPv6 takes no gateway on a device while a route leads to the gateway by another one, and that may be the
   * route to be replaced: it goes first, whatever its device, and whoever made it.
   */
  #writeRouteAnew(change: Change, route: Route, index: number): void {
    writeRemoveAnyRoute(this.#batch, route);
    this.#written(change, ["ESRCH"]);
    writeAddRoute(this.#batch, route, index, true);
    this.#written(change);
  }

  #writeNeighbor(
    change: Extract<Change, { readonly kind: `${string}-neighbor` | `${string}-fdb` }>,
  ): void {
    const isRemoval = change.kind === "remove-neighbor" || change.kind === "remove-fdb";
    const tolerated = isRemoval ? ["ENOENT", "ENODEV"] : none;
    const { device } = "neighbor" in change ? change.neighbor : change.entry;
    const index = this.#indexOf(change, device, tolerated);
    if (index === undefined) return;
    switch (change.kind) {
      case "replace-neighbor":
        writeReplaceNeighbor(this.#batch, change.neighbor, index);
        break;
      case "remove-neighbor":
        writeRemoveNeighbor(this.#batch, change.neighbor, index);
        break;
      case "replace-fdb":
        writeReplaceFdb(this.#batch, change.entry, index);
        break;
      case "remove-fdb":
        writeRemoveFdb(this.#batch, change.entry, index);
        break;
      default:
        assertNever(change);
    }
    this.#written(change, tolerated);
  }

  /** The messages that are new in the batch came from this change. */
  #written(change: Change, tolerated: readonly string[] = none, otherwise?: () => void): void {
    while (this.#origins.length < this.#batch.count) {
      this.#origins.push({ change, position: this.#position, tolerated, otherwise });
    }
  }

  /** Undefined, and a failure of the change if that matters, when there is no such device. */
  #indexOf(change: Change, device: IfName, tolerated: readonly string[]): number | undefined {
    if (this.#unsettled.has(device)) this.#flush();
    const known = this.#indexes.get(device);
    if (known !== undefined) return known;
    const index = this.#unmade.has(device) ? undefined : indexOf(this.#socket, device);
    if (index !== undefined) this.#indexes.set(device, index);
    else this.#fail(this.#originOf(change, tolerated), "ENODEV", "");
    return index;
  }

  #originOf(change: Change, tolerated = none): Origin {
    return { change, position: this.#position, tolerated };
  }

  #flush(): void {
    this.#settle(this.#socket.send(this.#batch));
  }

  /** What became of all that the batch holds, which is empty then. */
  #settle(failures: readonly MessageFailure[]): void {
    const again: Origin[] = [];
    for (const { index, errno, kernelMessage } of failures) {
      const origin = this.#origins[index];
      if (origin === undefined) continue;
      this.#fail(origin, errno, kernelMessage);
      const { change } = origin;
      if (change.kind === "add-vxlan" || change.kind === "add-veth") {
        this.#unmade.add(deviceOf(change));
      }
      if (origin.tolerated.includes(errno)) again.push(origin);
    }
    // After a failure nothing is taken for granted: names are looked up.
    for (const [device, index] of failures.length === 0 ? this.#unsettled : []) {
      if (index !== undefined) this.#indexes.set(device, index);
    }
    this.#unsettled.clear();
    this.#batch.clear();
    this.#origins.length = 0;
    if (again.some(({ otherwise }) => otherwise !== undefined)) this.#sendOtherwise(again);
  }

  #sendOtherwise(origins: readonly Origin[]): void {
    const position = this.#position;
    for (const origin of origins) {
      this.#position = origin.position;
      origin.otherwise?.();
    }
    this.#position = position;
    this.#flush();
  }

  #fail({ change, position, tolerated }: Origin, errno: string, kernelMessage: string): void {
    if (tolerated.includes(errno)) return;
    if (this.#firstFailure !== undefined && this.#firstFailure.position <= position) return;
    this.#firstFailure = { position, error: changeError(change, errno, kernelMessage) };
  }
}
