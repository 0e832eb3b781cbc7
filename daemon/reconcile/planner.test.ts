import { expect, test } from "vitest";
import { clusterOf, configuration, peerNode } from "../../bench/overlay/cluster.ts";
import { desiredOf, type NodePlan } from "../../core/desired/plan.ts";
import type { Finding } from "../../core/finding.ts";
import { formatChange } from "../../core/format-change.ts";
import { diffKeyed, keyedNode } from "../../core/diff.ts";
import type { Link } from "../../core/network.ts";
import { Target } from "../../core/target.ts";
import { aSnapshot, ifName, ip, mac } from "../../test/support/builders.ts";
import { parseConfig } from "../config/config.ts";
import { planSettings } from "../daemon.ts";
import { Planner } from "./planner.ts";

const underlay: Link = {
  name: ifName("eth0"),
  index: 2,
  mac: mac("02:00:00:00:00:01"),
  mtu: 1500,
  isUp: true,
  group: 0,
};

function aPlanner(): Planner {
  const planner = new Planner({
    settings: planSettings(parseConfig(configuration, "test", { nodeName: "node-a" })),
    missingNodeHint: () => "none",
    podAddresses: () => [],
    newPeersAtMost: 1_000,
  });
  planner.seeLinks([uplink]);
  return planner;
}

const uplink = {
  link: underlay,
  addresses: [{ device: underlay.name, address: ip("172.30.1.11"), prefixLength: 24 }],
};

/** The parts until the whole. */
function planAll(planner: Planner, snapshot: ReturnType<typeof aSnapshot>): NodePlan[] {
  const plans = [planner.plan(snapshot)];
  while (plans.at(-1)?.isPartial === true && plans.length < 100) plans.push(planner.plan(snapshot));
  return plans;
}

test("plan() takes several calls for a cluster that is large and new, and one for a change of it", () => {
  const planner = aPlanner();
  const nodes = [...clusterOf(6_000)];
  const snapshot = aSnapshot({ nodes });
  const plans = planAll(planner, snapshot);
  expect(plans.map(({ peers }) => peers.size)).toEqual([1_000, 2_000, 3_000, 4_000, 5_000, 5_999]);
  expect(plans.at(-1)?.isPartial).toBeUndefined();
  expect(planner.plan(snapshot)).toBe(plans.at(-1));
  nodes[7] = peerNode(6, 1);
  const [changed, ...more] = planAll(planner, aSnapshot({ nodes }));
  expect([changed?.isPartial, changed?.peers.size, more.length]).toEqual([undefined, 5_999, 0]);
});

test("plan() is the same while other links than the underlay come and go", () => {
  const planner = aPlanner();
  const snapshot = aSnapshot({ nodes: clusterOf(10) });
  const before = planner.plan(snapshot);
  const other = { ...underlay, name: ifName("docker0"), index: 9 };
  planner.seeLinks([uplink, { link: other, addresses: [] }]);
  expect(planner.plan(snapshot)).toBe(before);
  planner.seeLinks([{ ...uplink, link: { ...underlay, mtu: 1400 } }]);
  const after = planner.plan(snapshot);
  expect([after === before, after.local?.mtu]).toEqual([false, 1350]);
});

test("what is aimed at part by part, and put part by part, is the whole", () => {
  const plans = planAll(aPlanner(), aSnapshot({ nodes: clusterOf(6_000) }));
  const target = new Target();
  for (const plan of plans) target.aim(plan, true);
  expect(target.isDifferent).toBe(false);
  const wanted = keyedNode(desiredOf(plans.at(-1)!));
  expect(target.routes).toEqual(wanted.routes);
  const inParts = new Target();
  const put = plans.flatMap((plan) => inParts.advance(plan).map(({ change }) => change));
  const nothing = { addresses: [], neighbors: [], fdb: [], routes: [] };
  const all = diffKeyed(wanted, nothing, { mayRemove: true });
  const lineOf = (change: unknown): string => JSON.stringify(change);
  const objects = all.filter(({ kind }) => /neighbor|fdb|route|add-address/.test(kind));
  expect(put.map(lineOf).sort()).toEqual(objects.map(lineOf).sort());
});

test("advance() has what was noticed before, what has changed, and what has gone", () => {
  const planner = aPlanner();
  const nodes = [...clusterOf(20)];
  const [first] = planAll(planner, aSnapshot({ nodes }));
  const target = new Target();
  target.advance(first!);
  expect(target.isDifferent).toBe(false);
  const [route] = first!.peers.get("peer-3")!.routes;
  target.notice({ kind: "route-gone", item: route! });
  nodes.push(peerNode(30));
  const [more] = planAll(planner, aSnapshot({ nodes }));
  expect(more?.difference).toMatchObject({ gone: [], come: [{ node: { name: "peer-30" } }] });
  expect(linesOf(target.advance(more!))).toEqual(
    expect.arrayContaining([expect.stringContaining("ip route replace 10.1.3.0/24")]),
  );
  nodes.splice(1, 1);
  nodes[1] = peerNode(1, 1);
  const [less] = planAll(planner, aSnapshot({ nodes }));
  expect(linesOf(target.advance(less!))).toEqual([
    expect.stringMatching(/^bridge fdb replace .* dst 172.21.0.1 /),
    expect.stringContaining("ip route del 10.1.0.0/24"),
    expect.stringMatching(/^bridge fdb del .* dst 172.20.0.1 /),
    expect.stringMatching(/^bridge fdb del .* dst 172.20.0.0 /),
    expect.stringContaining("ip neighbor del 10.1.0.0 "),
  ]);
});

const linesOf = (findings: readonly Finding[]): string[] =>
  findings.map(({ change }) => formatChange(change));
