// What the claim protocol must stand, on few nodes and few blocks, so that all courses can be tried.
import { ClaimAgent, type Pool, type Situation } from "../../../ipam/claims/agent.ts";
import { standardDemand } from "../../../ipam/claims/demand.ts";
import { blocksPrefix, nodesPrefix } from "../../../ipam/claims/records.ts";
import { observeNode, releaseNode, sweepOrphans } from "../../../ipam/claims/release.ts";
import type { Steps } from "../../../ipam/claims/step.ts";
import { cidr } from "../../support/builders.ts";
import type { Program, Scenario, SimulatedStore, World } from "./world.ts";

/** Always the same choice: the nodes get in each other's way as much as they can. */
const random = { below: () => 0 };
const policy = { ...standardDemand, claimAtFree: 0, returnAtFree: 1, idleMs: 10, leavingMs: 10 };

const poolOf = (blocks: 2 | 4): Pool => ({
  name: "default",
  plan: {
    clusterCidrs: [cidr(blocks === 2 ? "10.1.0.0/23" : "10.1.0.0/22")],
    nodePrefixLength: { ipv4: 24, ipv6: 64 },
  },
});

// Of 10 addresses a block: what pods use of the first one tells how full the node is.
const some = (nowMs: number): Situation => ({
  nowMs,
  useOf: (block) => (block === "10.1.0.0/24" ? { used: 5, quarantined: 0, free: 5 } : empty),
});
const full: Situation = { nowMs: 0, useOf: () => ({ used: 10, quarantined: 0, free: 0 }) };
const empty = { used: 0, quarantined: 0, free: 10 };
const idle = (nowMs: number): Situation => ({ nowMs, useOf: () => empty });

interface NodeOptions {
  readonly node: string;
  readonly instance?: string;
  readonly pool: Pool;
  /** What it goes through in its first life; in the others it only starts. */
  readonly course?: readonly Situation[];
}

const agentOf = ({ node, instance = node, pool }: NodeOptions, life: string): ClaimAgent => {
  let sessions = 0;
  return new ClaimAgent({
    node,
    instance,
    pools: [pool],
    policy,
    random,
    newSession: () => `${instance} ${life}.${++sessions}`,
  });
};

const aNode = (options: NodeOptions, more: Partial<Program> = {}): Program => ({
  node: options.node,
  start: (life) => {
    const agent = agentOf(options, String(life));
    const course = life === 1 ? (options.course ?? [some(0)]) : [some(0)];
    return { agent, steps: runCourse(agent, course) };
  },
  ...more,
});

function* runCourse(agent: ClaimAgent, course: readonly Situation[]): Steps<void> {
  for (const situation of course) yield* agent.reconcile(situation);
}

/** After all trouble: who still lives runs on alone, and has what it needs and no more; nothing is left. */
const settle =
  (nodes: readonly NodeOptions[], { gone = [] }: { readonly gone?: readonly string[] } = {}) =>
  (world: World): void => {
    for (const node of gone) world.runAlone(release(node));
    world.runAlone(sweepOrphans(random));
    const agents = nodes.map((options) => ({ options, agent: agentOf(options, "last") }));
    for (let round = 0; round < 6; round++) {
      for (const { options, agent } of agents) {
        const steps = agent.reconcile(idle(1000 * (round + 1)));
        const { problems } = world.runAlone(steps, agent, options.node);
        const other = problems.find(({ kind }) => kind !== "lost");
        if (round >= 4 && other !== undefined)
          throw new Error(`${options.node} ends with ${other.kind}`);
      }
    }
    for (const { options, agent } of agents) {
      if (agent.held.length !== 1)
        throw new Error(`${options.node} ends with ${agent.held.length} blocks`);
    }
    const held = present(world.store, blocksPrefix);
    if (held !== nodes.length) throw new Error(`${held} blocks are claimed at the end`);
    const names = present(world.store, nodesPrefix);
    if (names !== nodes.length)
      throw new Error(`${names} names are taken at the end, ${gone.join()} gone`);
  };

const present = (store: SimulatedStore, prefix: string): number =>
  store.keys(prefix).filter((key) => store.current(key) !== undefined).length;

/** All nodes start at once; each finds the same first block. */
export const starting = (nodes: 2 | 3, faults: number, kills: number): Scenario => {
  const pool = poolOf(nodes === 2 ? 2 : 4);
  const options = ["a", "b", "c"].slice(0, nodes).map((node) => ({ node, pool }));
  return {
    name: `${nodes} nodes start at once, ${faults} faults, ${kills} kills`,
    programs: () => Object.fromEntries(options.map((one) => [one.node, aNode(one)])),
    faults,
    kills,
    atEnd: settle(options),
  };
};

/** A node fills up, claims another block and gives it back, which a second node wants. */
export const returning = (faults: number, kills: number): Scenario => {
  const a = { node: "a", pool: poolOf(2), course: [some(0), full, some(0), some(20), some(40)] };
  const b = { node: "b", pool: poolOf(2), course: [some(0), some(20)] };
  return {
    name: `a block is claimed and given back, ${faults} faults, ${kills} kills`,
    programs: () => ({ a: aNode(a), b: aNode(b) }),
    faults,
    kills,
    atEnd: settle([a, b]),
  };
};

/** Two machines go by one name: whatever happens, one of them gets nothing. */
export const sharingName = (faults: number, kills: number): Scenario => {
  const pool = poolOf(2);
  const one = aNode({ node: "a", instance: "one", pool });
  const other = aNode({ node: "a", instance: "other", pool });
  return {
    name: `two machines have one name, ${faults} faults, ${kills} kills`,
    // By machine, so that a block which both use counts as used twice.
    programs: () => ({ one: { ...one, node: "one" }, other: { ...other, node: "other" } }),
    faults,
    kills,
    atEnd: (world) => {
      const agents = ["one", "other"].map((name) => world.process(name).agent);
      const holding = agents.filter((agent) => (agent?.held.length ?? 0) > 0);
      if (holding.length > 1) throw new Error("both machines hold blocks");
    },
  };
};

/** The operator takes out a node that died; another wants its block; later the node returns after all. */
export const releasing = (faults: number, kills: number, returns: boolean): Scenario => {
  const a = { node: "a", pool: poolOf(2) };
  const b = { node: "b", pool: poolOf(2) };
  const isDead = (world: World): boolean => ["done", "dead"].includes(world.process("a").state);
  // Had it come back before, it would have given a sign of life since.
  const hasObserved = (world: World): boolean => {
    const { life, pending } = world.process("release");
    return life > 0 && pending?.kind !== "get";
  };
  const releaser: Program = {
    isDue: (now) => {
      if (!isDead(now)) return false;
      // From here on its pods are the operator's word, and a process that is "done" is one killed then.
      now.bury("a");
      now.process("a").agent = undefined;
      return true;
    },
    start: () => ({ steps: release("a") }),
  };
  return {
    name: `a node is released, ${faults} faults, ${kills} kills${returns ? ", and returns" : ""}`,
    programs: () => ({
      a: aNode(a, { lives: 1 }),
      release: releaser,
      b: aNode(b, { isDue: (world) => isDead(world) }),
      ...(returns
        ? {
            again: aNode(a, {
              isDue: hasObserved,
            }),
          }
        : {}),
    }),
    faults,
    kills,
    atEnd: settle(returns ? [a, b] : [b], returns ? {} : { gone: ["a"] }),
  };
};

function* release(node: string): Steps<void> {
  const seen = yield* observeNode(node, 0);
  if (seen !== undefined) yield* releaseNode(seen, { leaseMs: 10, nowMs: 10, random });
  yield* sweepOrphans(random);
}
