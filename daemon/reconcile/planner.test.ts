import { expect, test } from "vitest";
import { clusterOf, configuration, peerNode } from "../../bench/overlay/cluster.ts";
import { desiredOf, type NodePlan } from "../../core/desired/plan.ts";
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
  target.deferAll(["neighbors", "fdb", "routes"]);
  const put = [];
  const sizes: number[] = [];
  while (target.isDifferent && sizes.length < 100) {
    const part = target.takeFindings(2_000);
    sizes.push(part.length);
    put.push(...part.map(({ change }) => change));
  }
  expect(sizes.slice(0, 2)).toEqual([6_000, 6_000]);
  const nothing = { addresses: [], neighbors: [], fdb: [], routes: [] };
  const all = diffKeyed(wanted, nothing, { mayRemove: true });
  const lineOf = (change: unknown): string => JSON.stringify(change);
  const objects = all.filter(({ kind }) => /neighbor|fdb|route/.test(kind));
  expect(put.map(lineOf).sort()).toEqual(objects.map(lineOf).sort());
});
