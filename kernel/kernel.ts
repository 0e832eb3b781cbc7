// What fairlead asks of Linux. kernel/linux.ts is the real one, kernel/fake.ts the same in memory;
// test/contract runs one suite against both.
//
// Calls are synchronous: one batch is one sendmsg and takes 20 to 400 µs (docs/decisions/0002). What
// can block for milliseconds (reap, applyOffLoop) is asynchronous.
import type {
  Change,
  FdbEntry,
  InterfaceAddress,
  Link,
  Neighbor,
  ObservedShaping,
  Route,
  UdpFlow,
} from "../core/network.ts";
import type { Ip } from "../core/address.ts";
import type { IfName } from "../core/names.ts";
import type { ObjectChange } from "../core/network-change.ts";
import type { NftMap, NftTable, ObservedNftTable } from "../core/nft.ts";
import type { NftStep } from "../core/nft-step.ts";
import type { Known } from "./known.ts";

/** One network namespace, seen through netlink. Every failure is a KernelError with its errno. */
export interface NetworkNamespace {
  /**
   * Sends the changes as one batch, in order. All that can be done is done; then the first failure,
   * if any, is thrown, naming its change. A removal of what is not there is no failure. What is about
   * a link that could not be made is never done to another one, even of the same index or name.
   */
  apply(changes: readonly Change[]): void;
  links(): readonly Link[];
  /** One link by name, or undefined. Of a VXLAN device this tells of altered offloads too, unlike `links`. */
  link(name: string): Link | undefined;
  /**
   * Whether the device carries packets. Behind `isUp` and a carrier by milliseconds: the kernel takes
   * note of a carrier in a work queue, and what is sent before is dropped.
   */
  isRunning(device: IfName): boolean;
  // Of a device that does not exist there is nothing: an empty list.
  addresses(device: IfName): readonly InterfaceAddress[];
  /**
   * Each as `normalRoute` has it. Left out: the kernel's own multicast, broadcast and anycast routes, cache entries.
   */
  routes(filter: RouteFilter, known?: Known<Route>): readonly Route[];
  /** Whether a route leads to the address by this interface, of the main table or wherever rules look. */
  isRouted(address: Ip, index: number): boolean;
  /** Entries with a MAC that may be used; not the kernel's own for multicast. */
  neighbors(device: IfName, known?: Known<Neighbor>): readonly Neighbor[];
  fdb(device: IfName, known?: Known<FdbEntry>): readonly FdbEntry[];
  /** Undefined when the device's root is no token bucket filter. */
  shaping(device: IfName): ObservedShaping | undefined;
}

/** Which routes to read; what is absent is not filtered. */
export interface RouteFilter {
  readonly protocol?: number;
  readonly table?: number;
  readonly device?: IfName;
}

/** Which namespace: device and inode of its nsfs file. */
export interface NamespaceIdentity {
  readonly device: number;
  readonly inode: number;
}

/**
 * A pod's network namespace, opened. The socket inside it stays there (setns, open, setns back, in
 * one synchronous step: docs/decisions/0003).
 */
export interface Sandbox extends NetworkNamespace, Disposable {
  /** Open descriptor of the namespace, for the pod end of a veth pair. */
  readonly fd: number;
  readonly identity: NamespaceIdentity;
  /** In the sandbox, not on the node. */
  writeSysctl(name: string, value: string): void;
}

export interface Kernel extends NetworkNamespace, Disposable {
  /** The namespace this kernel object works in. */
  readonly identity: NamespaceIdentity;

  /**
   * Opens a sandbox by path; /proc/self/fd/N stays the caller's, who closes it later. Throws KernelError: ENOENT when there is none,
   * EINVAL when the file is no network namespace.
   */
  openSandbox(path: string): Sandbox;

  /**
   * As {@link NetworkNamespace.apply}, written while the event loop goes on: for changes by the thousand. They
   * are written after those of the calls before, and in no order with other calls' doing.
   */
  applyOffLoop(changes: readonly Change[]): Promise<void>;

  /**
   * Begins changes, none of which is about a link that another of them makes, in another thread. Undefined while
   * others are under way. Whoever begins them finishes them, or disposes of them.
   */
  begin(changes: readonly Change[]): BegunChanges | undefined;

  /** Removes links by group, off the event loop; resolves when they are gone from the kernel. */
  reap(devices: readonly IfName[]): Promise<void>;

  /** Our table as it is; undefined when there is none. */
  observeNft(name: string): ObservedNftTable | undefined;
  /**
   * Makes the table be `desired`, in one transaction that changes only what differs; where the kernel refuses
   * that, the table is removed and made anew in one. Gives its steps, in words; none when nothing did.
   */
  applyNft(desired: NftTable): readonly NftStep[];
  /**
   * Puts the elements of the part's maps into the table, without reading it, in one transaction. One
   * that is there already is no failure; EEXIST when a key leads elsewhere, and then nothing is changed.
   * Where the table or a map is missing, all of the part is made. An element with a timeout that is there
   * has all of it again, without a moment in which it is not there.
   */
  putNftElements(part: NftTable): void;
  /** Which of the maps' elements are not there exactly so; maps that miss none are left out. */
  missingNftElements(table: string, maps: readonly NftMap[]): readonly NftMap[];
  /** Removes those of the maps' elements that are there exactly so. */
  removeNftElements(table: string, maps: readonly NftMap[]): void;
  /** Removes the table; no failure when there is none. */
  removeNft(name: string): void;

  /**
   * Those of the addresses of which connection tracking has a flow, from it or answered by it. Takes
   * milliseconds: it walks over the whole table.
   */
  trackedAmong(addresses: readonly Ip[]): ReadonlySet<Ip>;
  /** UDP flows that connection tracking has, of those that were sent to this port. */
  udpFlows(port: number): readonly UdpFlow[];
  /** Has connection tracking forget the flows; one that is gone is no failure. */
  forgetUdpFlows(flows: readonly UdpFlow[]): void;

  /**
   * `net.ipv4.ip_forward` style names, or with slashes where a name has a dot in it. Undefined when
   * there is no such setting.
   */
  readSysctl(name: string): string | undefined;
  writeSysctl(name: string, value: string): void;

  /**
   * Calls back, coalesced, after links, addresses, routes or neighbors of the namespace changed;
   * `overflow` when notifications were lost and everything must be compared again. Of links that are
   * apart, and of what is on them, `apart` is told in its place, of an overflow too. Linux also tells of
   * forwarding and reverse path filters that changed, and of the nftables table `fairlead` when another
   * socket than this kernel's changed it, or may have.
   */
  watch(onChange: (event: KernelEvent) => void, options?: WatchOptions): KernelWatch;
}

export interface BegunChanges extends AsyncDisposable {
  /** Waits until the kernel has made them; throws the first failure, as {@link NetworkNamespace.apply} does. */
  finish(): Promise<void>;
}

export interface KernelWatch extends Disposable {
  /** Tells nothing of links and what is on them until `release`, but then all of it. */
  hold(): void;
  release(): void;
  /** Tells of links and what is on them, now and whether held or not, all that has happened until now. */
  read(): void;
}

export interface WatchOptions {
  readonly apart?: WatchApart;
  /** What this kernel object has done itself need not be told: Linux says whose routes and neighbors are. */
  readonly isOwnLeftOut?: boolean;
}

/** Links of which somebody else is told. */
export interface WatchApart {
  readonly includes: (device: string) => boolean;
  readonly onChange: (event: KernelEvent) => void;
}

export type KernelObject = "link" | "address" | "route" | "neighbor" | "nftables" | "sysctl";

export interface KernelEvent {
  readonly objects: ReadonlySet<KernelObject>;
  /** Names of links that changed, or whose addresses did. */
  readonly devices: ReadonlySet<string>;
  /**
   * Of these, links that went down or away, lost an address or have another name: routes, neighbors and entries
   * may have gone of which nothing is told.
   */
  readonly lossy: ReadonlySet<string>;
  /**
   * Routes and what is on links, one by one, in the order in which they changed; "many": too many for
   * that. A route is told of whoever made it.
   */
  readonly changes: readonly ObjectChange[] | "many";
  readonly overflow: boolean;
}

/** An advisory lock (flock), held until disposed. */
export interface FileLock extends Disposable {
  readonly path: string;
}
