// States of the cluster one after another on the real kernel, with somebody else at work in between: what
// the daemon makes of plans and notifications is judged by a comparison of everything, with a plan made
// anew.
import { setImmediate } from "node:timers/promises";
import fc from "fast-check";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import type { Node } from "../../core/cluster/model.ts";
import { aNode, cidr, ip } from "../support/builders.ts";
import { type OneNode, openOneNode, waiting } from "./one-node.ts";
import { commandFor } from "./somebody.ts";

function startNode() {
  const one = openOneNode();
  onTestFinished(() => one[Symbol.dispose]());
  return one;
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
const anyPeers = fc.uniqueArray(anyPeer, { selector: ({ name }) => name });
const anyStep = fc.record({
  /** The cluster is so for a moment. */
  passing: fc.array(anyPeers, { maxLength: 2 }),
  peers: anyPeers,
  alterations: fc.array(fc.record({ what: fc.nat(999), which: fc.nat(9) }), { maxLength: 4 }),
});

type Step = typeof anyStep extends fc.Arbitrary<infer T> ? T : never;

/** Through each state, with what somebody does to it: it has again what it had. */
async function follow(one: OneNode, steps: readonly Step[]): Promise<void> {
  for (const { passing, peers, alterations } of steps) {
    for (const [i, others] of passing.entries()) {
      one.see(others);
      if (i > 0) await setImmediate();
    }
    await one.reach(peers);
    const before = one.asShown();
    const commands = alterations.map((alteration) => commandFor(one.kernel, alteration));
    // Of what one has altered, the next may find nothing.
    one.node.run("sh", "-c", `{ ${[...commands, "true"].join("; ")}; } 2>/dev/null`);
    const isUndone = (): void => {
      expect([commands, one.leftToDo(peers)]).toEqual([commands, []]);
      expect([commands, one.asShown()]).toEqual([commands, before]);
    };
    await vi.waitFor(isUndone, { ...waiting, interval: 20 });
  }
}

describe("a node's kernel", () => {
  test("follows the cluster from state to state, whatever somebody else does meanwhile", async () => {
    const one = startNode();
    const nothing = { passing: [], peers: [], alterations: [] };
    await fc.assert(
      fc.asyncProperty(fc.array(anyStep, { minLength: 1, maxLength: 4 }), (steps) =>
        follow(one, [...steps, ...steps.toReversed(), nothing]),
      ),
      { numRuns: 4, endOnFailure: true },
    );
  });

  test("follows it likewise while one thing is refused at every try", async () => {
    const one = startNode();
    one.kernel.applyNft = () => {
      throw new Error("refused");
    };
    await fc.assert(
      fc.asyncProperty(fc.array(anyStep, { minLength: 1, maxLength: 3 }), (steps) =>
        follow(one, steps),
      ),
      { numRuns: 4, endOnFailure: true },
    );
    expect(one.reconciler.counters.failures).toBeGreaterThan(0);
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
