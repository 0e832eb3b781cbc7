import { isDeepStrictEqual } from "node:util";
import type { Ip, Mac } from "../core/address.ts";
import { KernelError, toError } from "../core/error.ts";
import type { IfName } from "../core/names.ts";
import type { ObjectChange } from "../core/network-change.ts";
import type { Change, Link, UdpFlow } from "../core/network.ts";
import { delegateTo } from "./delegate.ts";
import { FakeNftTables } from "./fake-nft.ts";
import { FakeNamespace, type FakeWorld } from "./fake-namespace.ts";
import type { BegunChanges, Kernel, KernelEvent, KernelObject, Sandbox } from "./kernel.ts";

/** A Kernel in memory, with what a test needs to set the scene and to break it. */
export interface FakeKernel extends Kernel {
  /** Makes an empty sandbox that `openSandbox(path)` finds, as a runtime would. */
  addSandbox(path: string): void;
  /** Ends it as a runtime would: its links vanish, and with them the host ends of their pairs. */
  removeSandbox(path: string): void;
  /** A device of the machine, such as the underlay. Up, MTU 1500 unless said otherwise. */
  addDevice(link: Partial<Link> & { readonly name: IfName; readonly mac: Mac }): Link;
  /** What connection tracking knows, for nothing is sent in a fake. */
  addUdpFlow(flow: UdpFlow): void;
  /** What the machine has no route to. */
  readonly unrouted: Set<Ip>;
  /** The next change that matches fails so, in this namespace or a sandbox. */
  failNext(matches: (change: Change) => boolean, errno: string, kernelMessage?: string): void;
  /** Sandboxes opened and not yet disposed: 0 when nothing leaks. */
  readonly openSandboxes: number;
}

interface PlannedFailure {
  readonly matches: (change: Change) => boolean;
  readonly errno: string;
  readonly kernelMessage: string;
}

class World implements FakeWorld {
  readonly descriptors = new Map<number, FakeNamespace>();
  readonly failures: PlannedFailure[] = [];
  #lastIndex = 1;
  #lastDescriptor = 1000;

  namespaceOfDescriptor(fd: number): FakeNamespace | undefined {
    return this.descriptors.get(fd);
  }

  takeFailure(change: Change): PlannedFailure | undefined {
    const at = this.failures.findIndex(({ matches }) => matches(change));
    return at < 0 ? undefined : this.failures.splice(at, 1)[0];
  }

  nextIndex(): number {
    return ++this.#lastIndex;
  }

  open(namespace: FakeNamespace): number {
    const fd = ++this.#lastDescriptor;
    this.descriptors.set(fd, namespace);
    return fd;
  }
}

/** A machine with nothing but `lo`, up. */
export function createFakeKernel(): FakeKernel {
  const world = new World();
  let lastInode = 1;
  const newNamespace = (): FakeNamespace =>
    new FakeNamespace(world, { device: 4, inode: ++lastInode });
  const node = newNamespace();
  const sandboxes = new Map<string, FakeNamespace>();
  const flows = new Set<UdpFlow>();
  const tables = new FakeNftTables();
  const watchers = watchChanges(node);

  return {
    identity: node.identity,
    ...delegateTo(node),
    applyOffLoop: async (changes) => node.apply(changes),
    begin: (changes) => beginAtOnce(node, changes),
    unrouted: node.unrouted,
    addSandbox: (path) => void sandboxes.set(path, newNamespace()),
    removeSandbox: (path) => {
      sandboxes.get(path)?.destroy();
      sandboxes.delete(path);
    },
    addDevice: (link) => node.addDevice(link),
    failNext: (matches, errno, kernelMessage = "") =>
      void world.failures.push({ matches, errno, kernelMessage }),
    get openSandboxes() {
      return world.descriptors.size;
    },
    openSandbox: (path) => {
      const namespace = sandboxes.get(path);
      if (namespace === undefined) throw new KernelError(`open the sandbox "${path}"`, "ENOENT");
      return openFakeSandbox(world, namespace);
    },
    reap: async (devices) => {
      node.apply(devices.map((device) => ({ kind: "remove-link", device })));
    },
    observeNft: (name) => tables.observe(name),
    applyNft: (desired) => tables.apply(desired),
    putNftElements: (part) => tables.putElements(part),
    missingNftElements: (name, maps) => tables.missingElements(name, maps),
    removeNftElements: (name, maps) => tables.removeElements(name, maps),
    removeNft: (name) => tables.remove(name),
    addUdpFlow: (flow) => void flows.add(flow),
    trackedAmong: (addresses) => {
      const tracked = new Set([...flows].flatMap(({ source, answerer }) => [source, answerer]));
      return new Set(addresses.filter((address) => tracked.has(address)));
    },
    udpFlows: (port) => [...flows].filter(({ destinationPort }) => destinationPort === port),
    forgetUdpFlows: (forgotten) => {
      for (const flow of flows) {
        if (forgotten.some((other) => isDeepStrictEqual(other, flow))) flows.delete(flow);
      }
    },
    readSysctl: (name) => node.sysctls.read(name),
    writeSysctl: (name, value) => node.sysctls.write(name, value),
    watch: (onChange, options) => watchers.watch(onChange, options),
    [Symbol.dispose]: () => watchers.stop(),
  };
}

function beginAtOnce(node: FakeNamespace, changes: readonly Change[]): BegunChanges {
  let failure: unknown;
  try {
    node.apply(changes);
  } catch (thrown) {
    failure = thrown;
  }
  const finish = async (): Promise<void> => {
    if (failure !== undefined) throw toError(failure);
  };
  return { finish, [Symbol.asyncDispose]: async () => {} };
}

function openFakeSandbox(world: World, namespace: FakeNamespace): Sandbox {
  const fd = world.open(namespace);
  return {
    ...delegateTo(namespace),
    fd,
    identity: namespace.identity,
    writeSysctl: (name, value) => namespace.sysctls.write(name, value),
    [Symbol.dispose]: () => void world.descriptors.delete(fd),
  };
}

/** Calls of one turn of the event loop are told as one, as the real kernel object does. */
function watchChanges(namespace: FakeNamespace) {
  const watchers = new Set<FakeNamespace["onChange"]>();
  namespace.onChange = (object, device, change) => {
    for (const watcher of watchers) watcher(object, device, change);
  };
  const listen = (
    onChange: (event: KernelEvent) => void,
    isFor: (device: string) => boolean,
  ): Disposable & { readonly tell: () => void } => {
    let [objects, devices, lossy] = [new Set<KernelObject>(), new Set<string>(), new Set<string>()];
    let changes: ObjectChange[] = [];
    const held = new Map<string, number>();
    const learn = (device: IfName): boolean => {
      const isUp = namespace.link(device)?.isUp === true;
      const before = held.get(device) ?? 0;
      // What is up holds what is on it, and an address holds routes.
      const now = isUp ? 1 + namespace.addresses(device).length : 0;
      held.set(device, now);
      return now < before;
    };
    for (const { name } of namespace.links()) learn(name);
    const tell = (): void => {
      if (objects.size === 0) return;
      const event = { objects, devices, lossy, changes, overflow: false };
      [objects, devices, lossy, changes] = [new Set(), new Set(), new Set(), []];
      if (watchers.has(watcher)) onChange(event);
    };
    const watcher: FakeNamespace["onChange"] = (object, device, change) => {
      if (!isFor(device)) return;
      if (objects.size === 0) setImmediate(tell);
      objects.add(object);
      if (change === undefined && learn(device)) lossy.add(device);
      if (change === undefined) devices.add(device);
      else changes.push(change);
    };
    watchers.add(watcher);
    return { tell, [Symbol.dispose]: () => void watchers.delete(watcher) };
  };
  const watch: Kernel["watch"] = (onChange, { apart } = {}) => {
    const stack = new DisposableStack();
    const told = [stack.use(listen(onChange, (device) => apart?.includes(device) !== true))];
    if (apart !== undefined) told.push(stack.use(listen(apart.onChange, apart.includes)));
    return {
      // Nobody waits in memory: what is held elsewhere is told here at once.
      hold: () => {},
      release: () => {},
      read: () => {
        for (const { tell } of told) tell();
      },
      [Symbol.dispose]: () => stack.dispose(),
    };
  };
  return { watch, stop: () => watchers.clear() };
}
