// The kernels that the contract suite runs against: the fake, and Linux in namespaces of its own.
import { KernelError } from "../../core/error.ts";
import type { IfName } from "../../core/names.ts";
import type { Change, Route } from "../../core/network.ts";
import { mainTable } from "../../core/network.ts";
import { createFakeKernel } from "../../kernel/fake.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { openKernel } from "../../kernel/linux.ts";
import { cidr, ifName, ip, mac } from "../support/builders.ts";
import { type TestNamespace, createNamespace } from "../support/netns.ts";

/** A kernel with nothing but `lo`, and what a runtime or an operator does from outside. */
export interface Scene extends Disposable {
  readonly kernel: Kernel;
  /** A new sandbox; its path. */
  addSandbox(): string;
  removeSandbox(path: string): void;
  /** A device that is up and is not ours, as an underlay is. */
  addUnderlay(name: IfName): void;
  /** A datagram from the node to a port of its own, at 127.0.0.1 or ::1. */
  sendUdp(address: string, port: number): void;
  /** Only with Linux: the node's namespace; a command run in it, or in a sandbox. */
  readonly path?: string;
  readonly run?: (command: string, ...args: readonly string[]) => string;
  readonly runIn?: (path: string, command: string, ...args: readonly string[]) => string;
}

export const kernels: readonly (readonly [string, () => Scene])[] = [
  ["the fake", fakeScene],
  ["Linux", linuxScene],
];

function fakeScene(): Scene {
  const kernel = createFakeKernel();
  let sandboxes = 0;
  return {
    kernel,
    addSandbox: () => {
      const path = `/run/netns/fake-${++sandboxes}`;
      kernel.addSandbox(path);
      return path;
    },
    removeSandbox: (path) => kernel.removeSandbox(path),
    addUnderlay: (name) => void kernel.addDevice({ name, mac: mac("02:00:00:00:99:01") }),
    sendUdp: (address, destinationPort) => {
      const at = ip(address);
      kernel.addUdpFlow({
        source: at,
        sourcePort: 40_000,
        destination: at,
        destinationPort,
        answerer: at,
        answererPort: destinationPort,
      });
    },
    [Symbol.dispose]: () => kernel[Symbol.dispose](),
  };
}

function linuxScene(): Scene {
  const node = createNamespace();
  const sandboxes = new Map<string, TestNamespace>();
  const kernel = openKernel({ namespace: node.path });
  return {
    kernel,
    addSandbox: () => {
      const sandbox = createNamespace();
      sandboxes.set(sandbox.path, sandbox);
      return sandbox.path;
    },
    removeSandbox: (path) => sandboxes.get(path)?.[Symbol.dispose](),
    addUnderlay: (name) => {
      node.run("ip", "link", "add", name, "type", "veth", "peer", "name", `${name}-peer`);
      for (const end of [name, `${name}-peer`]) node.run("ip", "link", "set", end, "up");
    },
    sendUdp: (address, port) => void node.run("bash", "-c", `echo > /dev/udp/${address}/${port}`),
    path: node.path,
    run: (command, ...args) => node.run(command, ...args),
    runIn: (path, command, ...args) => {
      const sandbox = sandboxes.get(path);
      if (sandbox === undefined) throw new Error(`No sandbox ${path}`);
      return sandbox.run(command, ...args);
    },
    [Symbol.dispose]: () => {
      kernel[Symbol.dispose]();
      for (const sandbox of sandboxes.values()) sandbox[Symbol.dispose]();
      node[Symbol.dispose]();
    },
  };
}

export const hostEnd = {
  name: ifName("fl00000000000a"),
  index: 4001,
  mac: mac("02:00:00:00:00:0a"),
};
export const podEnd = { name: ifName("eth0"), index: 4002, mac: mac("02:00:00:00:00:0b") };

export const addVeth = (sandboxFd: number): Change => ({
  kind: "add-veth",
  host: hostEnd,
  pod: podEnd,
  sandboxFd,
  mtu: 1450,
  alias: "fairlead:default/web",
});

export const setUp = (device: IfName): Change => ({
  kind: "set-link",
  device,
  settings: { isUp: true, linkLocal: false },
});

/** A route to this destination over a device: ours, in the main table. */
export const aRoute = (destination: string, device: IfName, more: Partial<Route> = {}): Route => ({
  destination: cidr(destination),
  device,
  metric: 0,
  table: mainTable,
  type: "unicast",
  scope: "link",
  protocol: 76,
  ...more,
});

/** A VXLAN device, up, with an address of each family as a node has them. */
export const overlay = ifName("fl-vxlan");
export const overlayChanges: readonly Change[] = [
  {
    kind: "add-vxlan",
    name: overlay,
    mac: mac("02:00:00:00:01:01"),
    mtu: 1450,
    vxlan: { vni: 7, port: 4789, local: ip("192.0.2.1"), learning: false },
  },
  { kind: "set-link", device: overlay, settings: { isUp: true, linkLocal: false, rpFilter: 2 } },
  {
    kind: "add-address",
    address: { device: overlay, address: ip("10.244.1.0"), prefixLength: 32 },
  },
  {
    kind: "add-address",
    address: { device: overlay, address: ip("fd00:1::"), prefixLength: 128 },
  },
];

/** The errno and message of the KernelError that this throws; undefined when it throws none. */
export function failureOf(action: () => void) {
  try {
    action();
  } catch (thrown) {
    if (!(thrown instanceof KernelError)) throw thrown;
    const { errno, message, kernelMessage } = thrown;
    return { errno, message, kernelMessage };
  }
  return undefined;
}

/** What `ip -j`, `bridge -j` or `nft -j` prints. */
// oxlint-disable-next-line typescript/no-explicit-any -- as loose as the tools' own schemas
export const json = (text: string): any => JSON.parse(text === "" ? "[]" : text);
