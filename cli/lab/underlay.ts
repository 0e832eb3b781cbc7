// The world around the nodes: a router between the links, and a host beyond it.
import { memberOf } from "./directory.ts";
import { execute } from "./execute.ts";
import { startListener } from "./listener.ts";
import { createMember, enterNetwork, holderOf, type Member } from "./member.ts";
import {
  nodeCommands,
  outsideCommands,
  outsideName,
  routerCommands,
  type Topology,
} from "./topology.ts";

/** The echo server's port outside. */
export const outsidePort = 80;

// A new namespace inherits the machine's values (net.core.devconf_inherit_init_net); a router takes
// packets whose way back is another, so it filters none.
const routerScript = `
echo 1 >/proc/sys/net/ipv4/ip_forward
for scope in all default; do echo 0 >/proc/sys/net/ipv4/conf/$scope/rp_filter; done`;

/** The router, and the host beyond it. */
export async function createWorld(lab: string, signal: AbortSignal): Promise<void> {
  const origin = { kind: "machine", lab } as const;
  const router = memberOf(lab, "router");
  await createMember(router, { origin, script: routerScript, args: [] }, signal);
  await createMember(memberOf(lab, "outside"), { origin, script: "", args: [] }, signal);
}

/** Connects the members, and starts what answers outside. */
export async function cableUp(
  lab: string,
  topology: Topology,
  command: string,
  signal: AbortSignal,
): Promise<void> {
  const netns = (name: string): string => String(holderOf(memberOf(lab, name)).pid);
  const batch = (member: Member, lines: readonly string[]): Promise<string> =>
    execute([...enterNetwork(member), "ip", "-batch", "-"], { signal, input: lines.join("\n") });
  await batch(memberOf(lab, "router"), routerCommands(topology, netns));
  const outside = memberOf(lab, "outside");
  await batch(outside, outsideCommands(topology));
  for (const node of topology.nodes) {
    await batch(memberOf(lab, node.name), nodeCommands(topology, node));
  }
  await startOutside(outside, topology, command, signal);
}

async function startOutside(
  outside: Member,
  topology: Topology,
  command: string,
  signal: AbortSignal,
): Promise<void> {
  const { address } = topology.outside;
  const dnsmasq = [
    "dnsmasq",
    "--keep-in-foreground",
    "--conf-file=/dev/null",
    "--no-resolv",
    "--no-hosts",
    "--pid-file=",
    "--user=root",
    "--log-facility=-",
    "--bind-interfaces",
    `--listen-address=${address}`,
    `--host-record=${outsideName},${address}`,
    // Any other name does not exist, rather than being refused: as a real resolver answers.
    "--local=//",
  ];
  const echo = [command, "lab", "serve", "--port", String(outsidePort)];
  await startListener(
    outside,
    { name: "dnsmasq", command: dnsmasq },
    { protocol: "udp", port: 53 },
    signal,
  );
  await startListener(
    outside,
    { name: "echo", command: echo },
    { protocol: "tcp", port: outsidePort },
    signal,
  );
}
