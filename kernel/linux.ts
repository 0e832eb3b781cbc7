import { Protocol } from "netlink/dist/constants.js";
import { nftTableName } from "../core/names.ts";
import { forgetUdpFlows, readUdpFlows, trackedAmong } from "./conntrack.ts";
import { ChangesBeside } from "./begun-changes.ts";
import { delegateTo } from "./delegate.ts";
import { DeviceFeatures } from "./device-feature.ts";
import type { Kernel } from "./kernel.ts";
import { LinuxNamespace } from "./namespace.ts";
import { openNamespace, openOwnNamespace, runInNamespace } from "./netns.ts";
import type { NetlinkSocket } from "./netlink.ts";
import { OffLoopChanges } from "./off-loop-changes.ts";
import { type NetlinkOptions, openNetlink } from "./open-netlink.ts";
import { NftTables } from "./nft.ts";
import { Reaper } from "./reaper.ts";
import { openSandbox } from "./sandbox.ts";
import { readSysctl, writeSysctl } from "./sysctl.ts";
import { type SettingsWatch, watchSettings } from "./settings-watch.ts";
import { watchSocket, watchedGroups } from "./watch.ts";

export interface KernelOptions {
  /** Path of the network namespace's file. Default: the calling thread's own. */
  readonly namespace?: string;
  /** Room for notifications that wait while this process works, in octets. */
  readonly watchOctets?: number;
}

/** Room for the failures of a whole chunk, and for the notifications of a large change. */
const bufferOctets = 4 << 20;

/**
 * Of notifications that wait while this process works: what is written for 5,000 nodes at once comes back as
 * 15,000 of them, of 800 octets each. Only used while they wait.
 */
const usualWatchOctets = 16 << 20;

/** A transaction is one message to the socket, however many rules and elements it has. */
const nftBufferOctets = 32 << 20;

/** Linux itself. */
export function openKernel(options: KernelOptions = {}): Kernel {
  const { watchOctets = usualWatchOctets } = options;
  using stack = new DisposableStack();
  const home = stack.use(
    options.namespace === undefined ? openOwnNamespace() : openNamespace(options.namespace),
  );
  const inside = <T>(work: () => T): T =>
    options.namespace === undefined ? work() : runInNamespace(home, work);
  const openSocket = (options: NetlinkOptions = {}): NetlinkSocket =>
    inside(() => openNetlink(Protocol.ROUTE, { bufferOctets, ...options }));
  const routing = stack.use(openSocket());
  let generic: NetlinkSocket | undefined;
  const openGeneric = () => inside(() => openNetlink(Protocol.GENERIC));
  const features = new DeviceFeatures(() => (generic ??= owned.use(openGeneric())));
  const network = new LinuxNamespace(() => routing, features);
  const offLoop = stack.use(new OffLoopChanges(routing, openSocket));
  const beside = stack.use(new ChangesBeside(routing, openSocket));
  const reaper = stack.use(new Reaper(openSocket));
  const owned = stack.move();
  let nft: NftTables | undefined;
  const openNftSocket = (): NetlinkSocket =>
    inside(() => openNetlink(Protocol.NETFILTER, { bufferOctets: nftBufferOctets }));
  // Opened when first used: the plugin without a daemon needs no nf_tables.
  let netfilter: NetlinkSocket | undefined;
  const netfilterSocket = (): NetlinkSocket => (netfilter ??= owned.use(openNftSocket()));
  const tables = (): NftTables => (nft ??= new NftTables(netfilterSocket()));
  return {
    identity: home.identity,
    ...delegateTo(network),
    applyOffLoop: (changes) => offLoop.apply(changes),
    begin: (changes) => beside.begin(changes),
    openSandbox,
    reap: (devices) => reaper.reap(devices),
    observeNft: (name) => tables().observe(name),
    applyNft: (desired) => tables().apply(desired),
    putNftElements: (part) => tables().putElements(part),
    missingNftElements: (name, maps) => tables().missingElements(name, maps),
    removeNftElements: (name, maps) => tables().removeElements(name, maps),
    removeNft: (name) => tables().remove(name),
    trackedAmong: (addresses) => trackedAmong(netfilterSocket(), addresses),
    udpFlows: (port) => readUdpFlows(netfilterSocket(), port),
    forgetUdpFlows: (flows) => forgetUdpFlows(netfilterSocket(), flows),
    readSysctl: (name) => inside(() => readSysctl(name)),
    writeSysctl: (name, value) => inside(() => writeSysctl(name, value)),
    watch: (onChange, { apart, isOwnLeftOut = false } = {}) => {
      using stack = new DisposableStack();
      const socket = openSocket({ groups: watchedGroups, bufferOctets: watchOctets });
      const isLeftOut = (sender: number): boolean =>
        isOwnLeftOut && (sender === routing.port || sender === offLoop.port);
      const links = () => network.links();
      const reading = stack.use(watchSocket({ socket, onChange, apart, isLeftOut, links }));
      const ownPort = () => netfilter?.port;
      const open: SettingsWatch["open"] = (protocol, options) =>
        inside(() => openNetlink(protocol, { bufferOctets, ...options }));
      const nameOf = (index: number) => network.links().find((link) => link.index === index)?.name;
      const table = nftTableName;
      stack.use(watchSettings({ open, onChange, apart, nameOf, table, ownPort }));
      const owned = stack.move();
      return {
        hold: () => reading.hold(),
        release: () => reading.release(),
        read: () => reading.read(),
        [Symbol.dispose]: () => owned.dispose(),
      };
    },
    [Symbol.dispose]: () => owned.dispose(),
  };
}
