// Scenes for the tests of the desired state: three nodes as in the demo, and their plans as text.
import type { Node } from "../../core/cluster/model.ts";
import { type DesiredNode, joinDesired } from "../../core/desired/node-state.ts";
import { desireOverlay, type OverlayInput } from "../../core/desired/overlay.ts";
import type { Underlay } from "../../core/desired/underlay.ts";
import { diffNode } from "../../core/diff.ts";
import { formatChange } from "../../core/format-change.ts";
import { mainTable } from "../../core/network.ts";
import { createFakeKernel, type FakeKernel } from "../../kernel/fake.ts";
import { aNode, cidr, ifName, ip, mac } from "./builders.ts";

export const nodeA = aNode("node-a", "172.30.1.11", "10.244.1.0/24");
export const nodeB = aNode("node-b", "172.30.1.12", "10.244.2.0/24");
export const nodeC = aNode("node-c", "172.30.2.13", "10.244.3.0/24");

export const underlayOfA: Underlay = {
  device: ifName("eth0"),
  index: 2,
  mtu: 1500,
  addresses: [ip("172.30.1.11")],
  networks: [cidr("172.30.1.0/24")],
};

interface Scene extends Partial<OverlayInput["settings"]> {
  readonly local?: Node;
  readonly peers?: readonly Node[];
  readonly underlay?: Underlay;
}

export function overlay({
  local = nodeA,
  peers = [nodeB, nodeC],
  underlay = underlayOfA,
  ...settings
}: Scene = {}) {
  const {
    own,
    mtu,
    peers: planned,
    problems,
  } = desireOverlay({
    settings: {
      podCidrs: [cidr("10.244.0.0/16"), cidr("fd00:10:244::/48")],
      backend: "auto",
      vni: 1,
      port: 4789,
      checksumOffload: true,
      mtu: "auto",
      ...settings,
    },
    local,
    peers,
    underlay,
  });
  return {
    node: joinDesired(own, planned.values()),
    mtu,
    paths: new Map(planned.entries().map(([name, { path }]) => [name, path])),
    problems: [...problems, ...planned.values().flatMap((peer) => peer.problems)],
  };
}

/** What a node that has nothing yet would do, one line a change. */
export const planFromNothing = (desired: DesiredNode): string =>
  diffNode(desired, { addresses: [], neighbors: [], fdb: [], routes: [] }, { mayRemove: true })
    .map(formatChange)
    .join("\n");

/** node-a's machine in memory: eth0 with the underlay's address, and the link's route. */
export function fakeNodeA(): FakeKernel {
  const kernel = createFakeKernel();
  const { device, addresses, networks } = underlayOfA;
  kernel.addDevice({ name: device, mac: mac("02:00:00:00:00:11") });
  for (const address of addresses) {
    kernel.apply([{ kind: "add-address", address: { device, address, prefixLength: 24 } }]);
  }
  for (const destination of networks) {
    const route = { destination, device, metric: 0, table: mainTable, protocol: 2 } as const;
    kernel.apply([{ kind: "add-route", route: { ...route, type: "unicast", scope: "link" } }]);
  }
  return kernel;
}
