import { describe, expect, test } from "vitest";
import type { Cidr } from "../../core/address.ts";
import { cidr } from "../../test/support/builders.ts";
import { seededRandom } from "../../test/support/random.ts";
import { type AgentOptions, ClaimAgent, type ClaimReport, type Pool, type Use } from "./agent.ts";
import { standardDemand } from "./demand.ts";
import { ClaimMap, memoryStore } from "./memory-store.ts";
import { blockKey } from "./records.ts";
import { observeNode, type ReleaseResult, releaseNode, sweepOrphans } from "./release.ts";
import { runSteps, type Steps } from "./step.ts";
import type { ClaimStore } from "./store.ts";

const pool = (cidrs: readonly string[], ipv4 = 24, more: Partial<Pool> = {}): Pool => ({
  name: "default",
  plan: { clusterCidrs: cidrs.map(cidr), nodePrefixLength: { ipv4, ipv6: 64 } },
  ...more,
});
const random = seededRandom(1);
const run = <T>(store: ClaimStore, steps: Steps<T>): Promise<T> =>
  runSteps(steps, store, new AbortController().signal);

let sessions = 0;
const agent = (node: string, more: Partial<AgentOptions> = {}): ClaimAgent =>
  new ClaimAgent({
    node,
    instance: `machine of ${node}`,
    pools: [pool(["10.1.0.0/22"])],
    policy: { ...standardDemand, claimAtFree: 0, returnAtFree: 1, idleMs: 100, leavingMs: 50 },
    random,
    newSession: () => String(++sessions),
    ...more,
  });
const free = { used: 0, quarantined: 0, free: 10 };
const full = { used: 10, quarantined: 0, free: 0 };
interface Told {
  readonly nowMs: number;
  readonly use: (block: Cidr) => Use;
  readonly wanted: ReadonlySet<string>;
}
const allFree = (): Use => free;
const reconcile = (
  store: ClaimStore,
  one: ClaimAgent,
  { nowMs = 0, use = allFree, wanted = new Set<string>() }: Partial<Told> = {},
): Promise<ClaimReport> => run(store, one.reconcile({ nowMs, useOf: use, wanted }));
const blocks = ({ held }: ClaimReport): string => held.map(({ block }) => block).join(" ");

describe("a claim agent", () => {
  test("gets a block of each family, once", async () => {
    const store = memoryStore();
    const a = agent("a", { pools: [pool(["10.1.0.0/22", "fd00::/62"])] });
    expect(await reconcile(store, a)).toMatchObject({ problems: [], leaving: [] });
    expect(blocks(await reconcile(store, a))).toBe("10.1.0.0/24 fd00::/64");
    expect(blocks(await reconcile(store, agent("b")))).toBe("10.1.1.0/24");
  });

  test("gets its blocks back, by what the store says or what the node remembers", async () => {
    const store = memoryStore();
    await reconcile(store, agent("a"));
    const b = agent("b");
    await reconcile(store, b);
    await reconcile(store, b, { use: () => full });
    expect(blocks(await reconcile(store, agent("b")))).toBe("10.1.1.0/24 10.1.2.0/24");
    const previous = [cidr("10.1.3.0/24")];
    expect(blocks(await reconcile(store, agent("c", { previous })))).toBe("10.1.3.0/24");
    const late = await reconcile(store, agent("d", { previous }));
    expect(late.problems).toEqual([
      { kind: "lost", block: "10.1.3.0/24", by: "c" },
      { kind: "exhausted", pool: "default", family: 4 },
    ]);
  });

  test("claims another when full, gives it back when idle, and takes it again before it is gone", async () => {
    const map = new ClaimMap();
    const store = memoryStore(map);
    const a = agent("a");
    await reconcile(store, a);
    await reconcile(store, a, { use: () => full });
    const use = (block: Cidr) => (block === "10.1.0.0/24" ? { ...free, used: 5, free: 5 } : free);
    expect(blocks(await reconcile(store, a, { use, nowMs: 10 }))).toBe("10.1.0.0/24 10.1.1.0/24");
    const left = await reconcile(store, a, { use, nowMs: 110 });
    expect([blocks(left), left.leaving.map(({ block }) => block)]).toEqual([
      "10.1.0.0/24",
      ["10.1.1.0/24"],
    ]);
    expect(map.get(blockKey(cidr("10.1.1.0/24")))?.value).toContain('"leaving"');
    expect(blocks(await reconcile(store, a, { use: () => full, nowMs: 120 }))).toBe(
      "10.1.0.0/24 10.1.1.0/24",
    );
    await reconcile(store, a, { use, nowMs: 200 });
    await reconcile(store, a, { use, nowMs: 300 });
    await reconcile(store, a, { use, nowMs: 349 });
    expect(map.list("blocks/")).toHaveLength(2);
    await reconcile(store, a, { use, nowMs: 350 });
    expect(map.list("blocks/")).toHaveLength(1);
  });

  test("has no block of a pool on demand before it is asked for, and none when it is empty again", async () => {
    const store = memoryStore();
    const a = agent("a", {
      pools: [pool(["10.1.0.0/22"], 24, { name: "blue", isOnDemand: true })],
    });
    expect(blocks(await reconcile(store, a))).toBe("");
    expect(blocks(await reconcile(store, a, { wanted: new Set(["blue"]) }))).toBe("10.1.0.0/24");
  });

  test("refuses a name that another machine has, until that is released", async () => {
    const store = memoryStore();
    await reconcile(store, agent("a"));
    const other = agent("a", { instance: "another machine" });
    expect((await reconcile(store, other)).problems).toEqual([
      { kind: "nameTaken", node: "a", instance: "machine of a" },
    ]);
    const seen = (await run(store, observeNode("a", 0)))!;
    await run(store, releaseNode(seen, { leaseMs: 10, nowMs: 10, random }));
    expect(blocks(await reconcile(store, other))).toBe("10.1.0.0/24");
  });

  test("stops when a second process takes over its machine's name", async () => {
    const store = memoryStore();
    const first = agent("a");
    await reconcile(store, first);
    await reconcile(store, agent("a"));
    expect(await run(store, first.renew())).toBe(false);
    expect(first.held).toEqual([]);
    expect((await reconcile(store, first)).problems).toMatchObject([{ kind: "nameTaken" }]);
  });

  test("refuses blocks of two sizes in one place, and says whose", async () => {
    const store = memoryStore();
    await reconcile(store, agent("a"));
    const b = agent("b", { pools: [pool(["10.1.0.0/16"], 26)] });
    expect((await reconcile(store, b)).problems).toEqual([
      {
        kind: "mismatch",
        message:
          "Cannot divide 10.1.0.0/16 into blocks of /26: the cluster divides 10.1.0.0/22 into /24. Give all nodes the same nodePrefixLength",
      },
    ]);
    expect(blocks(await reconcile(store, agent("c", { pools: [pool(["10.1.0.0/16"])] })))).toBe(
      "10.1.1.0/24",
    );
  });

  test("claims every block of what was given by hand, and names who has one of them", async () => {
    const store = memoryStore();
    const manual = [cidr("10.1.2.0/23"), cidr("10.1.0.64/26"), cidr("10.9.0.0/16")];
    const a = agent("a", { manual });
    expect(blocks(await reconcile(store, a))).toBe("10.1.2.0/24 10.1.3.0/24 10.1.0.0/24");
    const b = agent("b", { manual: [cidr("10.1.0.128/26")] });
    const report = await reconcile(store, b);
    expect(report.problems).toEqual([
      { kind: "lost", by: "a", block: "10.1.0.0/24", manual: "10.1.0.128/26" },
    ]);
    expect(() => agent("c", { manual: [cidr("0.0.0.0/0")] })).toThrow("has 16777216 blocks of /24");
  });

  test("passes over a record that it cannot read", async () => {
    const map = new ClaimMap();
    map.create(blockKey(cidr("10.1.0.0/24")), "of another program");
    expect(blocks(await reconcile(memoryStore(map), agent("a")))).toBe("10.1.1.0/24");
  });

  test("keeps what it holds while the store is away", async () => {
    const store = memoryStore();
    const a = agent("a");
    await reconcile(store, a);
    const away: ClaimStore = { ...store, list: () => Promise.reject(new Error("away")) };
    const report = await reconcile(away, a);
    expect([blocks(report), report.problems]).toEqual([
      "10.1.0.0/24",
      [{ kind: "unavailable", cause: new Error("away") }],
    ]);
  });

  test("claims anew what was removed by hand, as long as nobody else has it", async () => {
    const map = new ClaimMap();
    const store = memoryStore(map);
    const a = agent("a");
    await reconcile(store, a);
    const { key, revision } = map.list("blocks/")[0]!;
    map.remove(key, revision);
    expect(await reconcile(store, a)).toMatchObject({ problems: [] });
    expect(map.get(key)?.value).toContain('"node":"a"');
  });

  test("notices a claim that was removed by hand and given to another", async () => {
    const map = new ClaimMap();
    const store = memoryStore(map);
    const a = agent("a");
    await reconcile(store, a);
    const { key, revision } = map.list("blocks/")[0]!;
    map.remove(key, revision);
    await reconcile(store, agent("b"));
    const report = await reconcile(store, a);
    expect(report.problems).toEqual([{ kind: "lost", by: "b", block: "10.1.0.0/24" }]);
    expect(blocks(report)).toBe("10.1.1.0/24");
  });
});

describe("releaseNode()", () => {
  const release = async (
    store: ClaimStore,
    waitedMs: number,
    between = async () => {},
  ): Promise<ReleaseResult> => {
    const seen = (await run(store, observeNode("a", 0)))!;
    await between();
    return run(store, releaseNode(seen, { leaseMs: 100, nowMs: waitedMs, random }));
  };

  test("frees all that a silent node had", async () => {
    const map = new ClaimMap();
    const store = memoryStore(map);
    const a = agent("a");
    await reconcile(store, a);
    await reconcile(store, a, { use: () => full });
    expect(await release(store, 99)).toEqual({ kind: "tooEarly", waitMs: 1 });
    const had = ["10.1.0.0/24", "10.1.1.0/24"];
    expect(await release(store, 100)).toEqual({ kind: "released", blocks: had });
    expect(map.list("").map(({ key }) => key)).toEqual(["division"]);
    expect(await run(store, observeNode("a", 0))).toBeUndefined();
  });

  test("frees nothing of a node that gave a sign of life", async () => {
    const store = memoryStore();
    const a = agent("a");
    await reconcile(store, a);
    const renew = async (): Promise<void> => {
      expect(await run(store, a.renew())).toBe(true);
    };
    expect(await release(store, 100, renew)).toEqual({ kind: "alive" });
    expect(blocks(await reconcile(store, a))).toBe("10.1.0.0/24");
  });

  test("is found out by a node that lived all the same", async () => {
    const store = memoryStore();
    const a = agent("a");
    await reconcile(store, a);
    await release(store, 100);
    await reconcile(store, agent("b"));
    expect(await run(store, a.renew())).toBe(false);
    const report = await reconcile(store, a);
    expect(report.problems).toEqual([{ kind: "lost", by: "b", block: "10.1.0.0/24" }]);
    expect(blocks(report)).toBe("10.1.1.0/24");
  });
});

test("sweepOrphans() frees the claims of names that nobody has, and no others", async () => {
  const map = new ClaimMap();
  const store = memoryStore(map);
  await reconcile(store, agent("a"));
  await reconcile(store, agent("b"));
  const record = map.get("nodes/a")!;
  map.remove(record.key, record.revision);
  expect(await run(store, sweepOrphans(random))).toEqual([
    { node: "a", blocks: ["10.1.0.0/24"], why: "nameless" },
  ]);
  expect(map.list("").map(({ key }) => key)).toEqual(["blocks/10.1.1.0-24", "division", "nodes/b"]);
});

test("a hundred nodes that start at once need few tries each", async () => {
  const map = new ClaimMap();
  const counting = memoryStore(map);
  let creations = 0;
  const store: ClaimStore = {
    ...counting,
    create: (key, value, signal) => {
      if (key.startsWith("blocks/")) creations++;
      return counting.create(key, value, signal);
    },
  };
  const pools = [pool(["10.0.0.0/15"])];
  const nodes = Array.from({ length: 100 }, (_, i) => agent(`n${i}`, { pools }));
  const reports = await Promise.all(nodes.map((node) => reconcile(store, node)));
  expect(new Set(reports.map(blocks)).size).toBe(100);
  // One after the other at the first free block, it would be 5050.
  expect(creations).toBeLessThan(1500);
});
