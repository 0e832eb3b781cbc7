// What somebody else has on a node beside ours, which a daemon that heals must leave as it is.

/** A node that commands are run on. */
interface Runner {
  run(command: string, ...args: readonly string[]): string;
}

/** Makes a route, a table of nftables and a VXLAN device with an entry; gives what they look like. */
export function addForeign(node: Runner): string {
  node.run(
    "sh",
    "-ec",
    `ip route add 203.0.113.0/25 via 172.30.1.1
    nft add table inet other
    nft add chain inet other postrouting
    ip link add vx9 type vxlan id 9 dstport 4790 local 172.30.1.11 dev eth0
    ip link set vx9 up
    bridge fdb append 02:00:00:00:00:77 dev vx9 dst 172.30.1.12 self`,
  );
  return foreignState(node);
}

export const foreignState = (node: Runner): string =>
  node.run(
    "sh",
    "-c",
    `ip route show 203.0.113.0/25; nft list table inet other; ip -br link show vx9
    bridge fdb show dev vx9; true`,
  );
