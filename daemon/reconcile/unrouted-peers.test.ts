import { expect, test } from "vitest";
import { clusterOf, configuration } from "../../bench/overlay/cluster.ts";
import type { NodePlan } from "../../core/desired/plan.ts";
import { aSnapshot, ifName, ip, mac } from "../../test/support/builders.ts";
import { parseConfig } from "../config/config.ts";
import { planSettings } from "../daemon.ts";
import { Planner } from "./planner.ts";
import { UnroutedPeers } from "./unrouted-peers.ts";

function planOf(nodes: number): NodePlan {
  const planner = new Planner({
    settings: planSettings(parseConfig(configuration, "test", { nodeName: "node-a" })),
    missingNodeHint: () => "none",
    podAddresses: () => [],
  });
  const name = ifName("eth0");
  const link = { name, index: 2, mac: mac("02:00:00:00:00:01"), mtu: 1500, isUp: true, group: 0 };
  const address = { device: name, address: ip("172.30.1.11"), prefixLength: 24 };
  planner.seeLinks([{ link, addresses: [address] }]);
  const snapshot = aSnapshot({ nodes: clusterOf(nodes) });
  let plan = planner.plan(snapshot);
  while (plan.isPartial === true) plan = planner.plan(snapshot);
  return plan;
}

const none = {
  objects: new Set<never>(),
  lossy: new Set<string>(),
  changes: [],
  overflow: false,
} as const;

test("look() asks for some of many nodes at a time, for each once until routes change", () => {
  const plan = planOf(1_000);
  const tunnels = [...plan.peers.values()].filter(({ fdb }) => fdb.length > 0).length;

  let [nowMs, asked] = [0, 0];
  const kernel = {
    isRouted: () => {
      asked++;
      nowMs += 0.02;
      return false;
    },
  };
  const unrouted = new UnroutedPeers(kernel, { nowMs: () => 0, monotonicMs: () => nowMs });
  const lookUntilDone = (): number => {
    for (let looks = 0; ; looks++) {
      const before = asked;
      unrouted.look(plan);
      if (asked === before) return looks;
      expect(asked - before).toBeLessThan(300);
      nowMs += 2_000;
    }
  };
  expect(lookUntilDone()).toBeGreaterThan(2);
  expect([asked, unrouted.names.size]).toEqual([tunnels, tunnels]);
  unrouted.notice({ ...none, devices: new Set(["fl-vxlan"]) });
  expect(lookUntilDone()).toBe(0);
  unrouted.notice({ ...none, devices: new Set(["eth0"]) });
  lookUntilDone();
  expect(asked).toBe(2 * tunnels);
  expect(unrouted.problems()[0]?.message).toContain(`and ${tunnels - 3} more`);
});

test("look() is not put off for long where others had the processor meanwhile", () => {
  const plan = planOf(3);
  let nowMs = 0;
  const kernel = {
    isRouted: () => {
      nowMs += 500;
      return false;
    },
  };
  const unrouted = new UnroutedPeers(kernel, { nowMs: () => 0, monotonicMs: () => nowMs });
  unrouted.look(plan);
  expect(unrouted.names.size).toBe(1);
  nowMs += 2_000;
  unrouted.look(plan);
  expect(unrouted.names.size).toBe(2);
});
