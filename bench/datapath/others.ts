// The other ways: Debian's bridge plugin as it is, and beside it what flannel makes of a node: bridge,
// VXLAN device, permanent entries, and its rules of iptables (flannel, pkg/backend/vxlan and
// pkg/trafficmngr/iptables).
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createNamespace, type TestNamespace } from "../../test/support/netns.ts";
import { cutFrames, type Underlay, underlayAddress } from "./underlay.ts";

const pluginDirectory = "/usr/lib/cni";
const clusterCidr = "10.243.0.0/16";

interface Ends {
  readonly client: TestNamespace;
  readonly server: TestNamespace;
  readonly address: string;
}

interface BridgeNode {
  readonly node: TestNamespace;
  readonly subnet: string;
  readonly mtu: number;
  readonly isMasquerading: boolean;
}

/** Two pods of one node. `isFiltered`: as Kubernetes asks for it, so that services work on one node too. */
export function bridgePlugin(
  stack: AsyncDisposableStack,
  { isFiltered }: { readonly isFiltered: boolean },
): Ends {
  const node = stack.use(createNamespace());
  filterBridges(node, isFiltered);
  const on = { node, subnet: "10.242.1.0/24", mtu: 1500, isMasquerading: true };
  const [client] = bridgePods(stack, on, 1);
  const [server, address] = bridgePods(stack, { ...on }, 2);
  return { client, server, address };
}

const filterBridges = (node: TestNamespace, isFiltered: boolean): void =>
  void node.run("sysctl", "-qw", `net.bridge.bridge-nf-call-iptables=${isFiltered ? 1 : 0}`);

/** A pod by the reference plugins, and its address: the subnet's `host`-th. */
function bridgePods(
  stack: AsyncDisposableStack,
  { node, subnet, mtu, isMasquerading }: BridgeNode,
  host: number,
): readonly [TestNamespace, string] {
  const pod = stack.use(createNamespace());
  const dataDir = mkdtempSync(join(tmpdir(), "fairlead-bench-"));
  stack.defer(() => rmSync(dataDir, { recursive: true, force: true }));
  const address = subnet.replace(/0\/\d+$/, String(host + 1));
  const ranges = [[{ subnet, rangeStart: address, rangeEnd: address }]];
  const conf = {
    cniVersion: "1.0.0",
    name: "bench",
    type: "bridge",
    bridge: "cni0",
    isDefaultGateway: true,
    hairpinMode: true,
    ipMasq: isMasquerading,
    mtu,
    ipam: { type: "host-local", dataDir, ranges, routes: [{ dst: clusterCidr }] },
  };
  const env = {
    ...process.env,
    CNI_COMMAND: "ADD",
    CNI_CONTAINERID: `pod${host}`,
    CNI_NETNS: pod.path,
    CNI_IFNAME: "eth0",
    CNI_PATH: pluginDirectory,
  };
  const words = ["netns", "exec", node.name, join(pluginDirectory, "bridge")];
  execFileSync("ip", words, { env, input: JSON.stringify(conf) });
  return [pod, address];
}

interface FlannelOptions {
  readonly numbers: readonly [number, number];
  /** See {@link cutFrames}. */
  readonly isCut?: boolean;
}

export function flannel(
  stack: AsyncDisposableStack,
  underlay: Underlay,
  { numbers, isCut = false }: FlannelOptions,
): Ends {
  const [one, other] = numbers;
  const podOf = (own: number, peer: number): readonly [TestNamespace, string] => {
    const node = underlay.addNode(own);
    if (isCut) cutFrames(node);
    return flannelPod(stack, node, [own, peer]);
  };
  const [client] = podOf(one, other);
  const [server, address] = podOf(other, one);
  return { client, server, address };
}

const vtepMac = (number: number): string => `02:0f:1a:00:00:${number}`;

function flannelPod(
  stack: AsyncDisposableStack,
  node: TestNamespace,
  [own, peer]: readonly [number, number],
): readonly [TestNamespace, string] {
  filterBridges(node, true);
  node.run("sysctl", "-qw", "net.ipv4.ip_forward=1");
  const device = ["flannel.1", "mtu", "1450", "address", vtepMac(own), "type", "vxlan"];
  const parameters = ["id", "1", "local", underlayAddress(own), "dev", "eth0", "dstport", "8472"];
  node.run("ip", "link", "add", ...device, ...parameters, "nolearning");
  node.run("ip", "address", "add", `10.243.${own}.0/32`, "dev", "flannel.1");
  node.run("ip", "link", "set", "flannel.1", "up");
  const gateway = `10.243.${peer}.0`;
  const neighbor = ["to", gateway, "lladdr", vtepMac(peer), "dev", "flannel.1", "nud", "permanent"];
  node.run("ip", "neighbor", "add", ...neighbor);
  const entry = [vtepMac(peer), "dev", "flannel.1", "dst", underlayAddress(peer)];
  node.run("bridge", "fdb", "add", ...entry, "self", "permanent");
  const route = [`${gateway}/24`, "via", gateway, "dev", "flannel.1", "onlink"];
  node.run("ip", "route", "add", ...route);
  flannelRules(node, `10.243.${own}.0/24`);
  // The delegate's ipMasq is off: flannel masquerades.
  const on = { node, subnet: `10.243.${own}.0/24`, mtu: 1450, isMasquerading: false };
  return bridgePods(stack, on, 1);
}

function flannelRules(node: TestNamespace, subnet: string): void {
  const nat = [
    "-m mark --mark 0x4000/0x4000 -j RETURN",
    `-s ${subnet} -d ${clusterCidr} -j RETURN`,
    `-s ${clusterCidr} -d ${subnet} -j RETURN`,
    `! -s ${clusterCidr} -d ${subnet} -j RETURN`,
    `-s ${clusterCidr} ! -d 224.0.0.0/4 -j MASQUERADE --random-fully`,
    `! -s ${clusterCidr} -d ${clusterCidr} -j MASQUERADE --random-fully`,
  ].map((rule) => `-t nat -A FLANNEL-POSTRTG ${rule}`);
  for (const rule of [
    "-t nat -N FLANNEL-POSTRTG",
    "-t nat -A POSTROUTING -j FLANNEL-POSTRTG",
    ...nat,
    "-t filter -N FLANNEL-FWD",
    "-t filter -A FORWARD -j FLANNEL-FWD",
    `-t filter -A FLANNEL-FWD -s ${clusterCidr} -j ACCEPT`,
    `-t filter -A FLANNEL-FWD -d ${clusterCidr} -j ACCEPT`,
  ]) {
    node.run("iptables", ...rule.split(" "));
  }
}
