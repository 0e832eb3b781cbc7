// The VXLAN device of one node of three (three-nodes.ts) while pods talk over it: whatever somebody sets on it
// is put right in place where the kernel allows that, and then no packet is lost.
import { setTimeout } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { TestNamespace } from "../support/netns.ts";
import { ping, type RunningNode, ThreeNodes, waiting } from "./three-nodes.ts";
import { startTraffic } from "./traffic.ts";

const config = `network: { podCIDRs: [10.244.0.0/16, "fd00:10:244::/48"] }`;

describe("the VXLAN device", () => {
  let lab: ThreeNodes;
  let running: RunningNode;
  let near: TestNamespace;
  let far: TestNamespace;
  let node: TestNamespace;
  let before: string;

  beforeAll(async () => {
    lab = new ThreeNodes();
    running = (await lab.startAll({ config }))["node-a"];
    [near, far] = [lab.addPod("node-a", "10.244.1.2"), lab.addPod("node-c", "10.244.3.2")];
    node = lab.nodes["node-a"];
    before = device();
  });
  afterAll(() => lab[Symbol.asyncDispose]());

  const settings = ["disable_ipv6", "addr_gen_mode"].map(
    (name) => `net.ipv6.conf.fl-vxlan.${name}`,
  );

  function device(): string {
    const link = node
      .run("sh", "-c", "ip -d link show fl-vxlan; true")
      .replace(/^\d+: /, "")
      // Who has been down by its protocol is told to be up, and not unknown, from then on.
      .replace(/state \w+ /, "");
    const names = [
      "net.ipv4.conf.fl-vxlan.forwarding",
      "net.ipv4.conf.eth0.forwarding",
      ...settings,
    ];
    return [link, node.run("sh", "-c", `sysctl ${names.join(" ")}; true`)].join("");
  }

  const isHealed = (): Promise<void> =>
    vi.waitFor(() => expect(device()).toBe(before), { ...waiting, interval: 20 });

  const alter = (words: string): string => node.run("sh", "-c", words);
  const set = (words: string): string => `ip link set dev fl-vxlan ${words}`;

  /** Its index: of a device that was made again it is another. */
  const index = (): string => node.run("cat", "/sys/class/net/fl-vxlan/ifindex");

  const inPlace = [
    set("mtu 1400"),
    set("alias stolen"),
    set("group 7"),
    set("txqueuelen 500"),
    set("multicast off"),
    set("allmulticast on"),
    set("promisc on"),
    set("gso_max_size 20000"),
    set("gso_max_segs 10"),
    set("gro_max_size 20000"),
    set("addrgenmode eui64"),
    set("type vxlan id 1 local 172.30.1.11 learning"),
    set("type vxlan id 1 ttl 9"),
    set("type vxlan id 1 tos 8"),
    set("type vxlan id 1 ageing 100"),
    set("type vxlan id 1 df set"),
    set("type vxlan id 1 remote 172.30.1.99"),
    "sysctl -qw net.ipv6.conf.fl-vxlan.disable_ipv6=1",
  ];

  test("loses no packet by what is put right in place, and is the same device", async () => {
    const made = index();
    using traffic = startTraffic(near, far, "10.244.3.2");
    await traffic.begun;
    for (const words of inPlace) {
      const { link, sysctl } = { ...running.reconciler.counters.repairs };
      alter(words);
      expect([words, device()]).not.toEqual([words, before]);
      await isHealed();
      const now = running.reconciler.counters.repairs;
      expect([words, now.link + now.sysctl]).not.toEqual([words, link + sysctl]);
      await setTimeout(50);
    }
    const { sent, returned, connections, failed } = await traffic.end();
    expect(index()).toBe(made);
    expect(sent).toBeGreaterThan(1_000);
    expect(connections).toBeGreaterThan(20);
    expect([sent - returned, failed]).toEqual([0, 0]);
  }, 60_000);

  // These cut the way off themselves, until they are put right: with the flag of ARP or the MAC the kernel
  // forgets neighbors.
  test.each([
    set("arp off"),
    set("down"),
    set("protodown on"),
    set("address 02:00:00:00:00:02"),
    set("type vxlan id 1 local 172.30.1.99"),
    set("type vxlan id 1 dev lo"),
    "ip link add br7 type bridge; ip link set fl-vxlan master br7",
    "sysctl -qw net.ipv4.conf.fl-vxlan.forwarding=0",
    "sysctl -qw net.ipv4.conf.eth0.forwarding=0",
  ])("is the same device, and carries again, after %s", async (words) => {
    const made = index();
    const counted = Object.values(running.reconciler.counters.repairs).reduce((a, b) => a + b);
    alter(words);
    await isHealed();
    expect(index()).toBe(made);
    await vi.waitFor(() => expect(ping(near, "10.244.3.2")).toContain("1 received"), waiting);
    const now = Object.values(running.reconciler.counters.repairs).reduce((a, b) => a + b);
    expect(now).toBeGreaterThan(counted);
  });

  const anew = "type vxlan local 172.30.1.11 dev eth0 nolearning";
  const take = "ip link del fl-vxlan; ip link add fl-vxlan";
  const ours = "ip link set fl-vxlan alias fairlead:overlay up";
  test.each([
    ["removed", "ip link del fl-vxlan"],
    ["renamed", "ip link set fl-vxlan down; ip link set fl-vxlan name other"],
    ["on another port", `${take} ${anew} id 1 dstport 4790; ${ours}`],
    ["of another VNI", `${take} ${anew} id 9 dstport 4789; ${ours}`],
    [
      "of an IPv6 underlay",
      `${take} ${anew.replace("172.30.1.11", "2001:db8::1")} id 1 dstport 4789; ${ours}`,
    ],
    ["answering for others", `${take} ${anew} id 1 dstport 4789 proxy; ${ours}`],
    ["without checksums", `${take} ${anew} id 1 dstport 4789 noudpcsum; ${ours}`],
  ])("is made again where it was %s, as the ledger tells, and carries again", async (_, words) => {
    const { link } = running.reconciler.counters.repairs;
    alter(words);
    await isHealed();
    await vi.waitFor(() => expect(ping(near, "10.244.3.2")).toContain("1 received"), waiting);
    expect(running.reconciler.counters.repairs.link).toBeGreaterThan(link);
    const done = running.ledger.entries().map((entry) => entry.done);
    expect(done.some((line) => line.startsWith("ip link add fl-vxlan"))).toBe(true);
    expect(running.reconciler.state()?.problems).toEqual([]);
    expect(node.run("ip", "-o", "link")).not.toContain("other");
  });
});
