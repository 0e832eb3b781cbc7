// States of the cluster one after another on the real kernel, with somebody else at work in between: what
// the daemon makes of plans and notifications is judged by a comparison of everything, with a plan made
// anew.
import fc from "fast-check";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { settleMembership } from "../../core/cluster/membership.ts";
import type { Node } from "../../core/cluster/model.ts";
import { desiredOf, planNode } from "../../core/desired/plan.ts";
import { diffNode } from "../../core/diff.ts";
import { formatChange } from "../../core/format-change.ts";
import { silentLog } from "../../core/log.ts";
import { vxlanDevice } from "../../core/names.ts";
import type { Change } from "../../core/network.ts";
import { RepairLedger } from "../../core/repair-ledger.ts";
import { parseConfig } from "../../daemon/config/config.ts";
import { planSettings } from "../../daemon/daemon.ts";
import { observeNode, observeUnderlay } from "../../daemon/reconcile/observe.ts";
import { Reconciler } from "../../daemon/reconcile/reconcile.ts";
import { systemClock } from "../../kernel/clock.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { openKernel } from "../../kernel/linux.ts";
import { aNode, cidr, ip, mac } from "../support/builders.ts";
import { createNamespace } from "../support/netns.ts";
import { nodeA } from "../support/overlay.ts";
import { createFakeSource } from "../support/source.ts";

const config = `network: { podCIDRs: [10.244.0.0/16, "fd00:10:244::/48"], serviceCIDRs: [] }`;
const settings = planSettings(parseConfig(config, "test", { nodeName: "node-a" }));
const local = {
  ...nodeA,
  addresses: [...nodeA.addresses, ip("2001:db8:1::11")],
  podCidrs: [...nodeA.podCidrs, cidr("fd00:10:244:1::/64")],
};

// Against hanging alone.
const waiting = { timeout: 60_000, interval: 5 };

/** A node whose time never comes: only events and news make it work. */
function startNode() {
  const stack = new DisposableStack();
  onTestFinished(() => stack.dispose());
  const node = stack.use(createNamespace());
  const ipCommand = (words: string): string => node.run("ip", ...words.split(" "));
  ipCommand("link add eth0 type veth peer name far");
  for (const end of ["eth0", "far"]) ipCommand(`link set ${end} up`);
  ipCommand("address add 172.30.1.11/24 dev eth0");
  ipCommand("address add 2001:db8:1::11/64 dev eth0 nodad");
  const kernel = stack.use(openKernel({ namespace: node.path }));
  const source = createFakeSource();
  const reconciler = stack.use(
    new Reconciler({
      ledger: new RepairLedger(),
      kernel,
      source,
      settings,
      removalGraceMs: 0,
      missingNodeHint: () => "no node-a",
      hostPorts: () => [],
      podAddresses: () => [],
      rememberSysctl: () => {},
      onPass: () => {},
      clock: systemClock,
      log: silentLog,
      timing: {
        pauseMs: 1,
        resyncMs: 600_000,
        fullMs: 600_000,
        fullShare: 1,
        backoffMs: 10,
        backoffMaxMs: 100,
      },
    }),
  );
  const leftToDo = (nodes: readonly Node[]): readonly string[] => {
    const membership = settleMembership(nodes, settings.podCidrs);
    const links = observeUnderlay(kernel);
    const plan = planNode({ settings, membership, links, missingNodeHint: "" });
    const desired = desiredOf(plan);
    return diffNode(desired, observeNode(kernel), { mayRemove: true }).map(formatChange);
  };
  const somebody = stack.use(openKernel({ namespace: node.path }));
  return {
    node,
    somebody,
    reconciler,
    reach: async (peers: readonly Node[]): Promise<void> => {
      const nodes = [local, ...peers];
      source.setNodes(...nodes);
      await vi.waitFor(() => expect(leftToDo(nodes)).toEqual([]), waiting);
    },
    stays: (peers: readonly Node[]): Promise<void> =>
      vi.waitFor(() => expect(leftToDo([local, ...peers])).toEqual([]), waiting),
  };
}

const anyPeer = fc
  .record({
    n: fc.integer({ min: 2, max: 6 }),
    block: fc.integer({ min: 2, max: 6 }),
    at: fc.nat(3),
  })
  .map(({ n, block, at }): Node => ({
    ...aNode(`node-${n}`, `172.30.${1 + (at & 1)}.${20 + n * 4 + at}`, `10.244.${block}.0/24`),
    addresses: [
      ip(`172.30.${1 + (at & 1)}.${20 + n * 4 + at}`),
      ip(`2001:db8:${1 + (at >> 1)}::${n}${at}`),
    ],
    podCidrs: [cidr(`10.244.${block}.0/24`), cidr(`fd00:10:244:${block}::/64`)],
  }));
const anyStep = fc.record({
  peers: fc.uniqueArray(anyPeer, { selector: ({ name }) => name }),
  alterations: fc.array(fc.record({ what: fc.nat(7), which: fc.nat(9) }), { maxLength: 4 }),
});

function alter(kernel: Kernel, { what, which }: { what: number; which: number }): void {
  const pick = <T>(items: readonly T[]): T[] =>
    items.slice(which % Math.max(1, items.length)).slice(0, 1);
  const routes = pick(kernel.routes({ protocol: 76 }));
  const neighbors = pick(kernel.neighbors(vxlanDevice));
  const entries = pick(kernel.fdb(vxlanDevice));
  const other = mac("02:00:00:00:00:99");
  const away = ip("172.30.2.99");
  const changes: readonly Change[][] = [
    routes.map((route) => ({ kind: "remove-route", route })),
    routes.map((route) => ({ kind: "replace-route", route: { ...route, protocol: 4 } })),
    neighbors.map((neighbor) => ({ kind: "remove-neighbor", neighbor })),
    neighbors.map((neighbor) => ({
      kind: "replace-neighbor",
      neighbor: { ...neighbor, mac: other },
    })),
    entries.map((entry) => ({ kind: "remove-fdb", entry })),
    entries.map((entry) => ({ kind: "replace-fdb", entry: { ...entry, destination: away } })),
    entries.map((entry) => ({ kind: "replace-fdb", entry: { ...entry, mac: other } })),
    [{ kind: "set-link", device: vxlanDevice, settings: { isUp: false } }],
  ];
  try {
    kernel.apply(changes[what] ?? []);
  } catch {
    // What it was about has just gone.
  }
}

describe("a node's kernel", () => {
  test("follows the cluster from state to state, whatever somebody else does meanwhile", async () => {
    const { somebody, reach, stays } = startNode();
    await fc.assert(
      fc.asyncProperty(fc.array(anyStep, { minLength: 1, maxLength: 5 }), async (steps) => {
        const sequence = [...steps, ...steps.toReversed(), { peers: [], alterations: [] }];
        for (const { peers, alterations } of sequence) {
          await reach(peers);
          for (const one of alterations) alter(somebody, one);
          await stays(peers);
        }
      }),
      { numRuns: 8, endOnFailure: true },
    );
  });

  test("is put right at once after a storm", async () => {
    const { node, reach, stays, reconciler } = startNode();
    const peers = Array.from({ length: 1500 }, (_, i) =>
      aNode(
        `peer-${i}`,
        `172.31.${i >> 8}.${i & 255}`,
        `10.244.${128 + (i >> 4)}.${(i & 15) * 16}/28`,
      ),
    );
    await reach(peers);
    node.run("ip", "route", "flush", "proto", "76");
    await stays(peers);
    node.run("ip", "neighbor", "flush", "dev", "fl-vxlan", "nud", "permanent");
    await stays(peers);
    node.run("ip", "link", "del", "fl-vxlan");
    await stays(peers);
    expect(reconciler.counters.repairs.route).toBeGreaterThanOrEqual(1500);
  });
});
