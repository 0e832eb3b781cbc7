// Whose way of packets is measured: ours, the reference bridge plugin's, flannel's, and none at all.
import type { TestNamespace } from "../../test/support/netns.ts";
import { createNamespace } from "../../test/support/netns.ts";
import { bridgePlugin, flannel } from "./others.ts";
import { fairleadNodes } from "./ours.ts";
import { connect, createUnderlay, type Underlay, underlayAddress } from "./underlay.ts";

export interface Contender {
  readonly name: string;
  readonly place: "same node" | "cross node";
  readonly client: TestNamespace;
  readonly server: TestNamespace;
  /** The server's. */
  readonly address: string;
}

export const names = {
  veth: "a veth pair, nothing else",
  bridge: "bridge plugin, ipMasq",
  unfiltered: "the same, bridge-nf-call off",
  same: "fairlead, same node",
  link: "the link, nothing else",
  tunnel: "VXLAN by hand, no pods",
  flannel: "flannel's VXLAN + bridge",
  vxlan: "fairlead, VXLAN",
  direct: "fairlead, direct",
  cutFlannel: "flannel's, frames cut",
  cutVxlan: "fairlead, VXLAN, frames cut",
} as const;

export interface Contenders {
  readonly all: readonly Contender[];
  /** UDP flows of our tunnel that connection tracking has. */
  readonly trackedTunnels: () => number;
}

/** All of them at once: what is not measured is idle. */
export async function makeContenders(stack: AsyncDisposableStack): Promise<Contenders> {
  const underlay = stack.use(createUnderlay());
  const overVxlan = await fairleadNodes(stack, underlay, { numbers: [11, 12], backend: "vxlan" });
  const directly = await fairleadNodes(stack, underlay, { numbers: [13, 14], backend: "direct" });
  const cut = { numbers: [25, 26], backend: "vxlan", isCut: true } as const;
  const cutVxlan = await fairleadNodes(stack, underlay, cut);
  const same = { place: "same node" } as const;
  const cross = { place: "cross node" } as const;
  const all: readonly Contender[] = [
    { name: names.veth, ...same, ...vethPair(stack) },
    { name: names.bridge, ...same, ...bridgePlugin(stack, { isFiltered: true }) },
    { name: names.unfiltered, ...same, ...bridgePlugin(stack, { isFiltered: false }) },
    { name: names.same, ...same, ...overVxlan.sameNode },
    { name: names.link, ...cross, ...twoNodes(underlay, [15, 16]) },
    { name: names.tunnel, ...cross, ...handMade(underlay, [17, 18]) },
    { name: names.flannel, ...cross, ...flannel(stack, underlay, { numbers: [21, 22] }) },
    { name: names.vxlan, ...cross, ...overVxlan.crossNode },
    { name: names.direct, ...cross, ...directly.crossNode },
    {
      name: names.cutFlannel,
      ...cross,
      ...flannel(stack, underlay, { numbers: [23, 24], isCut: true }),
    },
    { name: names.cutVxlan, ...cross, ...cutVxlan.crossNode },
  ];
  for (const { client } of all) forgetConnections(client);
  return { all, trackedTunnels: overVxlan.trackedTunnels };
}

/** One connection's loss is not the next one's start. */
const forgetConnections = (client: TestNamespace): void =>
  void client.run("sysctl", "-qw", "net.ipv4.tcp_no_metrics_save=1");

function vethPair(stack: AsyncDisposableStack): Pick<Contender, "client" | "server" | "address"> {
  const client = stack.use(createNamespace());
  const server = stack.use(createNamespace());
  connect(client, "eth0", server, "eth0");
  client.run("ip", "address", "add", "10.0.0.1/24", "dev", "eth0");
  server.run("ip", "address", "add", "10.0.0.2/24", "dev", "eth0");
  return { client, server, address: "10.0.0.2" };
}

function twoNodes(underlay: Underlay, [one, other]: readonly [number, number]) {
  const [client, server] = [underlay.addNode(one), underlay.addNode(other)];
  return { client, server, address: underlayAddress(other) };
}

function handMade(underlay: Underlay, [one, other]: readonly [number, number]) {
  const nodes = twoNodes(underlay, [one, other]);
  for (const [node, own, remote] of [
    [nodes.client, one, other],
    [nodes.server, other, one],
  ] as const) {
    const ends = ["local", underlayAddress(own), "remote", underlayAddress(remote)];
    const device = ["vx0", "mtu", "1450", "type", "vxlan", "id", "1", "dstport", "4789"];
    node.run("ip", "link", "add", ...device, ...ends, "dev", "eth0", "nolearning");
    node.run("ip", "address", "add", `10.0.1.${own}/24`, "dev", "vx0");
    node.run("ip", "link", "set", "vx0", "up");
  }
  return { ...nodes, address: `10.0.1.${other}` };
}
