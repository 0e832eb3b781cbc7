// Every desired state is reached from every other, in one pass, on the kernel in memory: also in
// reverse, with steps left out and with nothing in between.
import { setImmediate } from "node:timers/promises";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { membershipSettler, settleMembership } from "../../core/cluster/membership.ts";
import type { Node } from "../../core/cluster/model.ts";
import { type DesiredNode, emptyNode } from "../../core/desired/node-state.ts";
import { desiredOf, type NodePlan, planNode } from "../../core/desired/plan.ts";
import { diffKeyed, diffNode } from "../../core/diff.ts";
import { formatChange } from "../../core/format-change.ts";
import type { ObjectChange } from "../../core/network-change.ts";
import type { Change } from "../../core/network.ts";
import { Target } from "../../core/target.ts";
import type { FakeKernel } from "../../kernel/fake.ts";
import { aNode, byName, cidr, ifName, ip, mac } from "../../test/support/builders.ts";
import { fakeNodeA, nodeA, nodeB, nodeC, overlay } from "../../test/support/overlay.ts";
import { parseConfig } from "../config/config.ts";
import { planSettings } from "../daemon.ts";
import { observeNode, observeUnderlay } from "./observe.ts";

function reconcile(kernel: FakeKernel, desired: DesiredNode): void {
  kernel.apply(diffNode(desired, observeNode(kernel), { mayRemove: true }));
  const rest = diffNode(desired, observeNode(kernel), { mayRemove: true });
  expect(rest.map(formatChange)).toEqual([]);
}

const anyPeer = fc
  .record({ n: fc.integer({ min: 2, max: 7 }), link: fc.boolean(), address: fc.nat(2) })
  .map(({ n, link, address }): Node =>
    aNode(`node-${n}`, `172.30.${link ? 1 : 2}.${n * 10 + address}`, `10.244.${n}.0/24`),
  );
const anyState: fc.Arbitrary<DesiredNode> = fc
  .record({
    peers: fc.uniqueArray(anyPeer, { selector: ({ name }) => name }),
    backend: fc.constantFrom("auto", "vxlan", "direct"),
    vni: fc.integer({ min: 1, max: 2 }),
    port: fc.constantFrom(4789, 8472),
    local: fc.constantFrom(nodeA, { ...nodeA, podCidrs: [cidr("10.244.9.0/24")] }),
    mtu: fc.constantFrom("auto" as const, 1400),
  })
  .map((scene) => overlay(scene).node);

describe("the node's kernel", () => {
  test("reaches every state from every other", () => {
    fc.assert(
      fc.property(fc.array(anyState, { minLength: 1, maxLength: 5 }), (states) => {
        const sequences = [
          states,
          [...states].reverse(),
          states.filter((_, i) => i % 2 === 0),
          states.flatMap((state) => [state, emptyNode]),
        ];
        for (const sequence of sequences) {
          using kernel = fakeNodeA();
          for (const state of sequence) reconcile(kernel, state);
        }
      }),
      { numRuns: 60 },
    );
  });

  test("is left alone where it is not ours", () => {
    using kernel = fakeNodeA();
    const foreign = {
      destination: cidr("10.244.0.0/16"),
      device: ifName("eth0"),
      gateway: ip("172.30.1.1"),
      metric: 0,
      table: 254,
      type: "unicast",
      scope: "global",
      protocol: 4,
    } as const;
    const pod = {
      destination: cidr("10.244.1.2/32"),
      device: kernel.addDevice({ name: ifName("fl0123456789ab"), mac: mac("02:00:00:00:00:12") })
        .name,
      metric: 0,
      table: 254,
      type: "unicast",
      scope: "link",
      protocol: 76,
    } as const;
    kernel.apply([
      { kind: "add-route", route: foreign },
      { kind: "add-route", route: pod },
    ]);
    reconcile(kernel, overlay().node);
    reconcile(kernel, emptyNode);
    expect(kernel.routes({})).toEqual(expect.arrayContaining([foreign, pod]));
    expect(kernel.links().map(({ name }) => name)).toEqual(["lo", "eth0", "fl0123456789ab"]);
  });
});

// The same again for what the daemon does between two comparisons of everything. The comparison is the
// judge: with the plan made anew, it must find nothing left to do.
const settings = planSettings(parseConfig("", "test", { nodeName: "node-a" }));

function planFrom(kernel: FakeKernel, nodes: readonly Node[], before?: NodePlan): NodePlan {
  const membership = settleMembership([nodeA, ...nodes], settings.podCidrs);
  const input = { settings, membership, links: observeUnderlay(kernel), missingNodeHint: "" };
  return planNode(input, before);
}

const leftToDo = (kernel: FakeKernel, nodes: readonly Node[]): string[] =>
  diffNode(desiredOf(planFrom(kernel, nodes)), observeNode(kernel), { mayRemove: true }).map(
    formatChange,
  );

// Few numbers for many nodes: claims are contested, and move from one node to another.
const anyNode = fc
  .record({
    n: fc.integer({ min: 2, max: 6 }),
    block: fc.nat(5),
    address: fc.nat(5),
    age: fc.nat(3),
  })
  .map(({ n, block, address, age }): Node =>
    aNode(
      `node-${n}`,
      `172.30.${1 + (address & 1)}.${20 + address}`,
      block === 5 ? "10.244.2.0/23" : `10.244.${2 + block}.0/24`,
      { createdAtMs: age },
    ),
  );
const anyCluster = fc.uniqueArray(anyNode, { selector: ({ name }) => name, maxLength: 5 });

describe("from plan to plan", () => {
  test("what differs between the plans is all that a comparison finds", () => {
    fc.assert(
      fc.property(fc.array(anyCluster, { minLength: 2, maxLength: 6 }), (clusters) => {
        const sequences = [
          clusters,
          [...clusters].reverse(),
          clusters.filter((_, i) => i % 2 === 0),
          clusters.flatMap((cluster) => [cluster, []]),
        ];
        for (const sequence of sequences) {
          using kernel = fakeNodeA();
          const links = observeUnderlay(kernel);
          const settle = membershipSettler(settings.podCidrs);
          const target = new Target();
          reconcile(kernel, desiredOf(planFrom(kernel, [])));
          let plan: NodePlan | undefined;
          for (const cluster of [[], ...sequence]) {
            const membership = settle(byName([nodeA, ...cluster]), []);
            const before = plan?.own;
            plan = planNode({ settings, membership, links, missingNodeHint: "" }, plan);
            target.aim(plan);
            const changes = target.takeChanges();
            // A node's own part that is new is compared with the kernel instead.
            if (before === plan.own) kernel.apply(changes);
            else reconcile(kernel, desiredOf(plan));
            expect(leftToDo(kernel, cluster)).toEqual([]);
          }
        }
      }),
      { numRuns: 100 },
    );
  });

  test("only what is other is planned anew", () => {
    using kernel = fakeNodeA();
    const links = observeUnderlay(kernel);
    const settle = membershipSettler(settings.podCidrs);
    const nodes = [nodeA, nodeB, nodeC];
    const plan = (cluster: readonly Node[], before?: NodePlan): NodePlan =>
      planNode(
        { settings, membership: settle(byName(cluster), []), links, missingNodeHint: "" },
        before,
      );
    const first = plan(nodes);
    const second = plan(
      [...nodes.slice(0, 2), { ...nodeC, addresses: [ip("172.30.2.99")] }],
      first,
    );
    expect(second.own).toBe(first.own);
    expect(second.local).toBe(first.local);
    expect(second.peers.get("node-b")).toBe(first.peers.get("node-b"));
    const target = new Target();
    target.aim(first);
    target.takeChanges();
    target.aim(second);
    expect(target.takeChanges().map(formatChange)).toEqual([
      "bridge fdb replace ca:58:fd:4d:76:c9 dev fl-vxlan dst 172.30.2.99 self permanent",
      "bridge fdb del ca:58:fd:4d:76:c9 dev fl-vxlan dst 172.30.2.13 self",
    ]);
  });
});

describe("from notifications", () => {
  const cluster = [nodeB, nodeC, aNode("node-d", "172.30.2.14", "10.244.4.0/24")];
  const anyTampering = fc.array(
    fc.record({ what: fc.nat(8), which: fc.nat(9), back: fc.boolean() }),
    { minLength: 1, maxLength: 6 },
  );

  test("every alteration is put right, told once, twice, or with the one before", async () => {
    await fc.assert(
      fc.asyncProperty(anyTampering, fc.boolean(), async (steps, isRepeated) => {
        using kernel = fakeNodeA();
        reconcile(kernel, desiredOf(planFrom(kernel, cluster)));
        const target = new Target();
        target.aim(planFrom(kernel, cluster));
        target.takeChanges();
        const told: ObjectChange[] = [];
        using _watch = kernel.watch(({ changes }) => {
          if (changes !== "many") told.push(...changes);
        });
        for (const step of steps) tamper(kernel, step);
        await setImmediate();
        for (const change of isRepeated ? told.flatMap((one) => [one, one]) : told) {
          target.notice(change);
        }
        const { isUnclear } = target;
        kernel.apply(target.takeChanges());
        if (isUnclear) kernel.apply(diffKeyed(target, observeNode(kernel), { mayRemove: true }));
        expect(leftToDo(kernel, cluster)).toEqual([]);
        told.length = 0;
        await setImmediate();
        // What we did ourselves comes back, and is as wanted.
        for (const change of told) target.notice(change);
        expect(target.isDifferent).toBe(false);
      }),
      { numRuns: 200 },
    );
  });
});

interface Tampering {
  readonly what: number;
  readonly which: number;
  readonly back: boolean;
}

function tamper(kernel: FakeKernel, { what, which, back }: Tampering): void {
  const pick = <T>(items: readonly T[]): T[] =>
    items.slice(which % Math.max(1, items.length)).slice(0, 1);
  const device = ifName("fl-vxlan");
  const routes = pick(kernel.routes({ protocol: 76 }));
  const [neighbors, entries] = [pick(kernel.neighbors(device)), pick(kernel.fdb(device))];
  const other = mac("02:00:00:00:00:99");
  const changes: Record<number, Change[]> = {
    0: routes.map((route) => ({ kind: "remove-route", route })),
    1: routes.map((route) => ({ kind: "replace-route", route: { ...route, protocol: 4 } })),
    2: neighbors.map((neighbor) => ({ kind: "remove-neighbor", neighbor })),
    3: neighbors.map((one) => ({ kind: "replace-neighbor", neighbor: { ...one, mac: other } })),
    4: entries.map((entry) => ({ kind: "remove-fdb", entry })),
    5: entries.map((one) => ({
      kind: "replace-fdb",
      entry: { ...one, destination: ip("172.30.2.99") },
    })),
    6: entries.map((one) => ({ kind: "replace-fdb", entry: { ...one, mac: other } })),
    7: neighbors.map((one) => ({
      kind: "replace-neighbor",
      neighbor: { ...one, address: ip("10.244.77.0") },
    })),
    8: routes.map((route) => ({ kind: "replace-route", route: { ...route, metric: 7777 } })),
  };
  kernel.apply(changes[what] ?? []);
  if (back) kernel.apply(routes.map((route) => ({ kind: "replace-route", route }) as const));
}
