// One network namespace in memory: the rules of Linux as far as fairlead meets them. What the real
// kernel does in each case is pinned by the suite in test/contract, which runs against both.
import { type Cidr, type Ip, type Mac, cidrContains, familyOf, parseMac } from "../core/address.ts";
import { assertNever, invariant } from "../core/assert.ts";
import type { KernelError } from "../core/error.ts";
import { type IfName, loopbackDevice } from "../core/names.ts";
import type { ObjectChange } from "../core/network-change.ts";
import {
  type Change,
  type FdbEntry,
  type InterfaceAddress,
  type Link,
  type LinkSettings,
  type Neighbor,
  type ObservedShaping,
  type Route,
  deviceOf,
  isDiscarding,
  linkAlias,
  localTable,
  normalRoute,
} from "../core/network.ts";
import { changeError } from "./errno.ts";
import { withSettings } from "./fake-link.ts";
import {
  isSameAddress,
  isSameFdbEntry,
  isSameHop,
  isSameNeighbor,
  isSameRouteKey,
} from "./fake-sameness.ts";
import { FakeSysctls } from "./fake-sysctls.ts";
import type { KernelObject, NamespaceIdentity, NetworkNamespace, RouteFilter } from "./kernel.ts";
import { type Known, itself } from "./known.ts";

/** Other end of a veth pair, wherever it is. */
interface Peer {
  readonly namespace: FakeNamespace;
  readonly index: number;
}

interface FakeLink {
  link: Link;
  peer?: Peer;
}

/** What the namespaces of one fake kernel share. */
export interface FakeWorld {
  namespaceOfDescriptor(fd: number): FakeNamespace | undefined;
  /** A planned failure for this change, if there is one. */
  takeFailure(
    change: Change,
  ): { readonly errno: string; readonly kernelMessage: string } | undefined;
  /** Interface indexes are unique in a fake world, which Linux does not promise. */
  nextIndex(): number;
}

/** A refusal as the kernel words it; apply() adds which change it was. */
class Refusal extends Error {
  readonly errno: string;
  constructor(errno: string, kernelMessage = "") {
    super(kernelMessage);
    this.errno = errno;
  }
}

export class FakeNamespace implements NetworkNamespace {
  readonly identity: NamespaceIdentity;
  readonly sysctls = new FakeSysctls();
  /** Told after each change of this namespace. */
  onChange: (object: KernelObject, device: IfName, change?: ObjectChange) => void = () => {};
  readonly #world: FakeWorld;
  readonly #links = new Map<number, FakeLink>();
  #addresses: InterfaceAddress[] = [];
  #routes: Route[] = [];
  #neighbors: Neighbor[] = [];
  #fdb: FdbEntry[] = [];
  readonly #shapings = new Map<IfName, ObservedShaping>();

  constructor(world: FakeWorld, identity: NamespaceIdentity) {
    this.#world = world;
    this.identity = identity;
    const mac = parseMac("00:00:00:00:00:00");
    invariant(mac !== undefined, "zero is a MAC address");
    this.#addLink({ index: 1, name: loopbackDevice, mac, mtu: 65_536, isUp: true, group: 0 });
  }

  apply(changes: readonly Change[]): void {
    let first: KernelError | undefined;
    const unmade = new Set<IfName>();
    for (const change of changes) {
      const device = deviceOf(change);
      try {
        if (unmade.has(device)) throw new Refusal("ENODEV");
        const planned = this.#world.takeFailure(change);
        if (planned !== undefined) throw new Refusal(planned.errno, planned.kernelMessage);
        this.#applyOne(change);
      } catch (thrown) {
        if (!(thrown instanceof Refusal)) throw thrown;
        first ??= changeError(change, thrown.errno, thrown.message);
        if (change.kind === "add-vxlan" || change.kind === "add-veth") unmade.add(device);
      }
    }
    if (first !== undefined) throw first;
  }

  links(): readonly Link[] {
    return Array.from(this.#links.values(), ({ link }) => link).sort((a, b) => a.index - b.index);
  }

  link(name: string): Link | undefined {
    return this.#find(name)?.link;
  }

  isRunning(device: IfName): boolean {
    const found = this.#find(device);
    if (found === undefined || !found.link.isUp) return false;
    const { peer } = found;
    return peer === undefined || peer.namespace.#links.get(peer.index)?.link.isUp === true;
  }

  addresses(device: IfName): readonly InterfaceAddress[] {
    return this.#addresses.filter((address) => address.device === device);
  }

  routes(filter: RouteFilter, known: Known<Route> = itself): readonly Route[] {
    const isWanted = (route: Route): boolean =>
      (filter.protocol === undefined || route.protocol === filter.protocol) &&
      (filter.table === undefined || route.table === filter.table) &&
      (filter.device === undefined || route.device === filter.device);
    return this.#routes.filter(isWanted).map(known);
  }

  /** Addresses that no route leads to; to all others one does. */
  readonly unrouted = new Set<Ip>();

  isRouted(address: Ip): boolean {
    return !this.unrouted.has(address);
  }

  neighbors(device: IfName, known: Known<Neighbor> = itself): readonly Neighbor[] {
    return this.#neighbors.filter((neighbor) => neighbor.device === device).map(known);
  }

  fdb(device: IfName, known: Known<FdbEntry> = itself): readonly FdbEntry[] {
    return this.#fdb.filter((entry) => entry.device === device).map(known);
  }

  shaping(device: IfName): ObservedShaping | undefined {
    return this.#shapings.get(device);
  }

  /** A device as the machine would have it: the underlay, say. */
  addDevice(link: Partial<Link> & { readonly name: IfName; readonly mac: Mac }): Link {
    invariant(this.#find(link.name) === undefined, `${link.name} is a new device`);
    const added = { index: this.#world.nextIndex(), mtu: 1500, isUp: true, group: 0, ...link };
    this.#addLink(added);
    return added;
  }

  /** Takes the namespace down: veth pairs lose their other ends too. */
  destroy(): void {
    for (const { name, index } of this.links()) {
      if (name !== loopbackDevice) this.#removeLink(index);
    }
  }

  #applyOne(change: Change): void {
    switch (change.kind) {
      case "add-veth":
        return this.#addVeth(change);
      case "add-vxlan": {
        const { name, mac, mtu, vxlan } = change;
        this.#refuseTaken(name);
        const { underlayIndex } = vxlan;
        if (underlayIndex !== undefined && !this.#links.has(underlayIndex)) {
          throw new Refusal("ENODEV", "Invalid local interface, device not found");
        }
        const link = { index: this.#world.nextIndex(), name, mac, mtu, isUp: false, group: 0 };
        const underlay = underlayIndex === undefined ? {} : { linkIndex: underlayIndex };
        this.#addLink({ ...link, type: "vxlan", vxlan, ...underlay });
        return;
      }
      case "set-link":
        return this.#setLink(this.#indexOf(change.device), change.settings);
      case "remove-link": {
        const found = this.#find(change.device);
        if (found !== undefined) this.#removeLink(found.link.index);
        return;
      }
      case "add-address":
        return this.#addAddress(change.address);
      case "remove-address":
        return this.#removeAddress(change.address);
      case "add-route":
        return this.#addRoute(normalRoute(change.route), false);
      case "replace-route":
        return this.#addRoute(normalRoute(change.route), true);
      case "remove-route":
        return this.#removeRoute(normalRoute(change.route));
      case "replace-shaping": {
        const { burst: _, ...observed } = change.shaping;
        this.#linkNamed(observed.device);
        this.#shapings.set(observed.device, observed);
        return;
      }
      default:
        return this.#applyToNeighbors(change);
    }
  }

  #applyToNeighbors(
    change: Extract<Change, { readonly kind: `${string}-neighbor` | `${string}-fdb` }>,
  ): void {
    switch (change.kind) {
      case "replace-neighbor": {
        if (!this.#linkNamed(change.neighbor.device).isUp) throw new Refusal("ENETDOWN");
        this.#neighbors = [
          ...this.#neighbors.filter((other) => !isSameNeighbor(other, change.neighbor)),
          change.neighbor,
        ];
        return this.#changed({ kind: "neighbor", item: change.neighbor });
      }
      case "remove-neighbor": {
        const { length } = this.#neighbors;
        this.#neighbors = this.#neighbors.filter((n) => !isSameNeighbor(n, change.neighbor));
        if (this.#neighbors.length === length) return;
        return this.#changed({ kind: "neighbor-gone", item: change.neighbor });
      }
      case "replace-fdb": {
        const { device, mac } = change.entry;
        this.#linkNamed(device);
        this.#fdb = [
          ...this.#fdb.filter((other) => other.device !== device || other.mac !== mac),
          change.entry,
        ];
        return this.#changed({ kind: "fdb", item: change.entry });
      }
      case "remove-fdb": {
        const { length } = this.#fdb;
        this.#fdb = this.#fdb.filter((entry) => !isSameFdbEntry(entry, change.entry));
        if (this.#fdb.length === length) return;
        return this.#changed({ kind: "fdb-gone", item: change.entry });
      }
      default:
        return assertNever(change);
    }
  }

  #changed(change: Exclude<ObjectChange, { readonly item: Route }>): void {
    this.onChange("neighbor", change.item.device, change);
  }

  #addVeth(change: Extract<Change, { readonly kind: "add-veth" }>): void {
    const { host, pod, mtu, alias, isHostUp = false } = change;
    const sandbox = this.#world.namespaceOfDescriptor(change.sandboxFd);
    if (sandbox === undefined) throw new Refusal("EBADF");
    if (this.#links.has(host.index)) throw new Refusal("EEXIST");
    this.#refuseTaken(host.name);
    sandbox.#refuseTaken(pod.name);
    if (sandbox.#links.has(pod.index)) throw new Refusal("EBUSY");
    const common = { type: "veth", mtu, isUp: false, group: 0 };
    const aliased = alias === undefined ? {} : { alias: linkAlias(alias) };
    this.#addLink(
      { ...common, ...host, ...aliased, isUp: isHostUp, linkIndex: pod.index },
      { namespace: sandbox, index: pod.index },
    );
    sandbox.#addLink(
      { ...common, ...pod, linkIndex: host.index },
      { namespace: this, index: host.index },
    );
  }

  #setLink(index: number, settings: LinkSettings): void {
    const found = this.#links.get(index);
    if (found === undefined) throw new Refusal("ENODEV");
    const { isUp, mac } = settings;
    const { name, isUp: wasUp } = found.link;
    found.link = withSettings(found.link, settings);
    if (mac !== undefined) this.#flushNeighbors(name);
    if (wasUp && isUp === false) this.#flushDown(found.link.name);
    this.onChange("link", found.link.name);
  }

  /** What Linux takes away with a device that goes down: its routes, neighbors, IPv6 addresses. */
  #flushDown(device: IfName): void {
    this.#routes = this.#routes.filter((route) => route.device !== device);
    this.#flushNeighbors(device);
    for (const address of this.addresses(device)) {
      if (familyOf(address.address) === 6) this.#removeAddress(address);
    }
  }

  #flushNeighbors(device: IfName): void {
    const flushed = this.#neighbors.filter((neighbor) => neighbor.device === device);
    this.#neighbors = this.#neighbors.filter((neighbor) => neighbor.device !== device);
    for (const item of flushed) this.#changed({ kind: "neighbor-gone", item });
  }

  #addLink(link: Link, peer?: Peer): void {
    this.#links.set(link.index, peer === undefined ? { link } : { link, peer });
    this.onChange("link", link.name);
  }

  #removeLink(index: number): void {
    const found = this.#links.get(index);
    if (found === undefined) return;
    if (index === 1) throw new Refusal("EOPNOTSUPP");
    const { name } = found.link;
    this.#links.delete(index);
    this.#shapings.delete(name);
    this.#flushDown(name);
    for (const address of this.addresses(name)) this.#removeAddress(address);
    this.#fdb = this.#fdb.filter((entry) => entry.device !== name);
    this.onChange("link", name);
    if (found.peer !== undefined) found.peer.namespace.#removeLink(found.peer.index);
  }

  #addAddress(address: InterfaceAddress): void {
    this.#linkNamed(address.device);
    if (this.#addresses.some((other) => isSameAddress(other, address))) throw new Refusal("EEXIST");
    this.#addresses.push(address);
    this.onChange("address", address.device);
  }

  #removeAddress(address: InterfaceAddress): void {
    const { length } = this.#addresses;
    this.#addresses = this.#addresses.filter((other) => !isSameAddress(other, address));
    if (this.#addresses.length === length) return;
    this.#routes = this.#routes.filter((route) => route.source !== address.address);
    this.onChange("address", address.device);
  }

  #addRoute(route: Route, mayReplace: boolean): void {
    const { isUp } = this.#linkNamed(route.device);
    if (!isUp && !isDiscarding(route.type)) {
      throw new Refusal("ENETDOWN", "Device for nexthop is not up");
    }
    if (route.gateway !== undefined && route.scope !== "global") {
      throw new Refusal("EINVAL", "Nexthop has invalid scope");
    }
    if (route.gateway !== undefined && route.onlink !== true && !this.#isOnLink(route.gateway)) {
      throw new Refusal("ENETUNREACH", "Nexthop has invalid gateway");
    }
    if (route.source !== undefined && !this.#isLocal(route.source)) {
      throw new Refusal("EINVAL", "Invalid prefsrc address");
    }
    const others = this.#routes.filter((other) => !isSameRouteKey(other, route));
    if (!mayReplace && others.length < this.#routes.length) throw new Refusal("EEXIST");
    this.#routes = [...others, route];
    this.onChange("route", route.device, { kind: "route", item: route });
  }

  #removeRoute(route: Route): void {
    const item = this.#routes.find(
      (other) => isSameRouteKey(other, route) && isSameHop(other, route),
    );
    if (item === undefined) return;
    this.#routes = this.#routes.filter((other) => other !== item);
    this.onChange("route", item.device, { kind: "route-gone", item });
  }

  #isOnLink(gateway: Ip): boolean {
    const covers = (cidr: Cidr): boolean => cidrContains(cidr, gateway);
    return this.#routes.some((route) => route.gateway === undefined && covers(route.destination));
  }

  #isLocal(address: Ip): boolean {
    return (
      this.#addresses.some((own) => own.address === address) ||
      this.#routes.some(
        ({ type, destination, table }) =>
          type === "local" && table === localTable && cidrContains(destination, address),
      )
    );
  }

  #refuseTaken(name: IfName): void {
    if (this.#find(name) !== undefined) throw new Refusal("EEXIST");
  }

  #find(name: string): FakeLink | undefined {
    for (const found of this.#links.values()) if (found.link.name === name) return found;
    return undefined;
  }

  #linkNamed(name: IfName): Link {
    const link = this.link(name);
    if (link === undefined) throw new Refusal("ENODEV");
    return link;
  }

  #indexOf(name: IfName): number {
    return this.#linkNamed(name).index;
  }
}
