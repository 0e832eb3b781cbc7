// Random faults at one node of three while pods talk: whatever of ours is removed or altered comes back,
// and what is not ours stays. FAIRLEAD_SEED replays a run.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { desiredOf } from "../../core/desired/plan.ts";
import { diffKeyed, keyedNode } from "../../core/diff.ts";
import { formatChange } from "../../core/format-change.ts";
import type { RepairStatus } from "../../core/status.ts";
import { observeNode } from "../../daemon/reconcile/observe.ts";
import type { TestNamespace } from "../support/netns.ts";
import { seededRandom } from "../support/random.ts";
import type { FlowCount } from "./flow.ts";
import { addForeign, foreignState } from "./foreign-objects.ts";
import { nodeNames, type RunningNode, ThreeNodes } from "./three-nodes.ts";
import { startTraffic } from "./traffic.ts";

export interface FaultFigures {
  readonly seed: number;
  readonly faults: number;
  readonly repairs: Readonly<Record<string, number>>;
  /** From the kernel's notification until the repair, of those that one told of. */
  readonly repairedMs: Spread;
  /** From the end of the command that did it until a look finds all as before; a look takes its time. */
  readonly healedMs: Spread;
  /** Between a pod of this node and one behind the tunnel; the way itself is cut again and again. */
  readonly traffic: FlowCount;
}

export interface Spread {
  readonly p50: number;
  readonly p99: number;
  readonly worst: number;
}

const toC = "172.30.2.13";
const macOfC = "ca:58:fd:4d:76:c9";

/** What somebody might do to objects of ours, as a shell says it. */
const faults: readonly string[] = [
  "ip link set fl-vxlan down",
  "ip link set fl-vxlan mtu 1300",
  "ip link set fl-vxlan address 02:00:00:00:00:02",
  "ip link set fl-vxlan alias stolen",
  "ip link del fl-vxlan",
  "ip address flush dev fl-vxlan",
  "ip -6 address flush dev fl-vxlan",
  "sysctl -qw net.ipv6.conf.fl-vxlan.disable_ipv6=1",
  "sysctl -qw net.ipv6.conf.all.forwarding=0",
  "ip -6 route del fd00:10:244:3::/64",
  "ip -6 route replace fd00:10:244:2::/64 dev lo proto 76 metric 3",
  "ip -6 neighbor del fd00:10:244:3:: dev fl-vxlan",
  "ip -6 neighbor replace fd00:10:244:3:: lladdr 02:00:00:00:00:01 dev fl-vxlan nud permanent",
  "nft flush set inet fairlead inside6",
  "nft flush chain inet fairlead raw-in",
  "ip address add 192.0.2.1/24 dev fl-vxlan",
  "ip route del 10.244.3.0/24",
  "ip route del 10.244.2.0/24",
  "ip route replace 10.244.3.0/24 via 172.30.1.1 proto 76 metric 4",
  "ip route del local 10.96.0.10 table local",
  "ip route add 203.0.113.128/25 via 172.30.1.1 proto 76",
  "ip neighbor del 10.244.3.0 dev fl-vxlan",
  "ip neighbor replace 10.244.3.0 lladdr 02:00:00:00:00:01 dev fl-vxlan nud permanent",
  "ip neighbor add 10.244.9.0 lladdr 02:00:00:00:00:09 dev fl-vxlan nud permanent",
  `bridge fdb del ${macOfC} dev fl-vxlan dst ${toC} self`,
  `bridge fdb replace ${macOfC} dev fl-vxlan dst 172.30.2.99 self`,
  "bridge fdb append 00:00:00:00:00:00 dev fl-vxlan dst 172.30.2.99 self",
  "sysctl -qw net.ipv4.ip_forward=0",
  "sysctl -qw net.ipv4.conf.fl-vxlan.rp_filter=1",
  "sysctl -qw net.ipv4.conf.fl-vxlan.forwarding=0",
  "sysctl -qw net.ipv4.conf.eth0.forwarding=0",
  "ip link set fl-vxlan down; ip link set fl-vxlan name other",
  "ip link set fl-vxlan type vxlan id 1 local 172.30.1.99 ttl 9",
  "ip link set fl-vxlan txqueuelen 500 arp off",
  "nft delete table inet fairlead",
  "nft flush chain inet fairlead postrouting",
  "nft add rule inet fairlead postrouting counter",
  "nft insert rule inet fairlead raw-in drop",
  "nft add chain inet fairlead theirs '{ type filter hook forward priority 0; policy drop; }'",
  "nft delete element inet fairlead inside4 '{ 224.0.0.0/4 }'",
  "nft add element inet fairlead inside4 '{ 198.51.100.0/24 }'",
  "nft add set inet fairlead theirs '{ type ipv4_addr; }'",
  "nft add table inet fairlead '{ flags dormant; }'",
  "nft rename chain inet fairlead hostports theirs",
  "nft add chain inet fairlead other; nft add map inet fairlead theirs '{ type mark : verdict; elements = { 1 : jump other }; }'",
];

/** The same to the node's end of a pod, in `$pod`, that has the address `$ip`. */
const podFaults: readonly string[] = [
  "ip route del $ip dev $pod",
  "ip route replace $ip dev $pod proto static scope link",
  "ip neighbor del $ip dev $pod",
  "ip neighbor replace $ip lladdr 02:00:00:00:00:01 dev $pod nud permanent",
  "ip link set $pod down",
  "ip link set $pod mtu 1300",
  "ip link set $pod address 02:00:00:00:00:02",
  "sysctl -qw net.ipv4.conf.$pod.rp_filter=0",
  "sysctl -qw net.ipv4.conf.$pod.forwarding=0",
  "nft delete element inet fairlead hostports4 '{ tcp . 8080 }'",
  "nft flush map inet fairlead hostports4",
  "nft flush set inet fairlead hairpin4",
];

/** And to the files in `$facts` and `$conflist`. */
const fileFaults: readonly string[] = [
  "rm $facts",
  "rm $conflist",
  "echo >>$facts",
  "echo >>$conflist",
  "echo '{}' >$facts",
  ": >$conflist",
];

const healDeadlineMs = 20_000;

/** Throws naming the seed when something does not come back, or something else has gone. */
export async function injectFaults({
  durationMs,
  seed,
}: {
  readonly durationMs: number;
  readonly seed: number;
}): Promise<FaultFigures> {
  await using lab = new ThreeNodes();
  for (const name of nodeNames) giveBothFamilies(join(lab.clusterOf(name), "nodes.yaml"));
  const node = lab.start("node-a", { isAttached: true, config });
  for (const name of ["node-b", "node-c"] as const) await lab.start(name, { config }).programmed();
  await node.programmed();
  const [near, far] = [lab.addNamespace(), lab.addPod("node-c", "10.244.3.2")];
  const ports = [{ protocol: "tcp", hostPort: 8080, containerPort: 80 }] as const;
  await node.attached!.attach(near, "near", ports);
  const foreign = addForeign(node.node);
  using traffic = startTraffic(near, far, "10.244.3.2");
  const names = namesOf(node);
  // What an ADD has just made is left alone for a moment.
  await setTimeout(1_000);
  const before = stateOf(node.node, names);
  const random = seededRandom(seed);
  const all = [...faults, ...podFaults, ...fileFaults];
  const healedMs: number[] = [];
  const repaired = new Set<RepairStatus>();
  const endAtMs = performance.now() + durationMs;
  while (performance.now() < endAtMs) {
    // One alone, or several at once: one that meets what another has just taken fails, and is none.
    const chosen = Array.from({ length: 1 + random.below(3) }, () => all[random.below(all.length)]);
    const fault = chosen.join("; ");
    node.node.run("sh", "-c", `${names}; { ${fault}; } 2>/dev/null || true`);
    const doneAtMs = performance.now();
    // The daemon's part runs in this process: it has its turn before each look.
    while ((await setTimeout(2), stateOf(node.node, names)) !== before) {
      if (performance.now() - doneAtMs > healDeadlineMs) {
        throw new Error(
          `Seed ${seed}: after "${fault}" is not as before:\n${differing(before, stateOf(node.node, names))}`,
        );
      }
    }
    healedMs.push(performance.now() - doneAtMs);
    for (const entry of node.ledger.entries()) repaired.add(entry);
    await setTimeout(random.below(100));
  }
  const counted = await traffic.end();
  await compareAll(node, seed);
  const after = foreignState(node.node);
  if (after !== foreign) throw new Error(`Seed ${seed}: of others' things ${after} are left`);
  return {
    seed,
    faults: healedMs.length,
    repairs: { ...node.reconciler.counters.repairs },
    repairedMs: spreadOf([...repaired].flatMap(({ afterMs }) => afterMs ?? [])),
    healedMs: spreadOf(healedMs),
    traffic: counted,
  };
}

const config = `network: { podCIDRs: [10.244.0.0/16, "fd00:10:244::/48"] }`;

function giveBothFamilies(manifests: string): void {
  const text = readFileSync(manifests, "utf8");
  const both = text.replaceAll(/10\.244\.(\d)\.0\/24/g, '10.244.$1.0/24, "fd00:10:244:$1::/64"');
  writeFileSync(manifests, both);
}

function spreadOf(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number): number =>
    Math.round((sorted[Math.floor((sorted.length - 1) * share)] ?? 0) * 10) / 10;
  return { p50: at(0.5), p99: at(0.99), worst: at(1) };
}

/** The shell's variables that faults name. */
function namesOf({ node, attached }: RunningNode): string {
  const [, address = "", pod = ""] =
    /^(10\.244\.1\.\d+) dev (fl\w+)/m.exec(node.run("ip", "route")) ?? [];
  const [facts = "", conflist = ""] = attached?.files ?? [];
  if (pod === "" || address === "") throw new Error("The attached pod has no route");
  return `pod=${pod} ip=${address} facts=${facts} conflist=${conflist}`;
}

/** Everything of ours in the node's kernel and files, as text, with one process. */
const stateOf = (node: TestNamespace, names: string): string =>
  node
    .run(
      "sh",
      "-c",
      `${names}; cat $facts $conflist; ip -d link show $pod; ip neighbor show dev $pod
      ip route show dev $pod; sysctl net.ipv4.conf.$pod.rp_filter; ip -d link show fl-vxlan; ip address show fl-vxlan; ip neighbor show dev fl-vxlan;
      bridge fdb show dev fl-vxlan; ip route show proto 76; ip route show table local proto 76;
      ip -6 route show proto 76; sysctl net.ipv6.conf.all.forwarding net.ipv6.conf.fl-vxlan.disable_ipv6;
      nft list table inet fairlead; sysctl net.ipv4.ip_forward net.ipv4.conf.eth0.forwarding net.ipv4.conf.$pod.forwarding
      sysctl net.ipv4.conf.fl-vxlan.rp_filter net.ipv4.conf.fl-vxlan.forwarding; true`,
    )
    // Of a new device all is as before but its number, and the order of what is on it.
    .replaceAll(/^\d+: /gm, "")
    .split("\n")
    .toSorted()
    .join("\n");

/** The lines that are only in one of two texts. */
function differing(before: string, after: string): string {
  const [old, now] = [before.split("\n"), after.split("\n")];
  return [
    ...old.filter((line) => !now.includes(line)).map((line) => `- ${line}`),
    ...now.filter((line) => !old.includes(line)).map((line) => `+ ${line}`),
  ].join("\n");
}

/** The kernel against the plan, object by object. */
async function compareAll({ kernel, programmed }: RunningNode, seed: number): Promise<void> {
  const { plan } = await programmed();
  const observed = observeNode(kernel);
  const changes = diffKeyed(keyedNode(desiredOf(plan)), observed, { mayRemove: true });
  if (changes.length === 0) return;
  throw new Error(`Seed ${seed} leaves to do: ${changes.map(formatChange).join("; ")}`);
}
