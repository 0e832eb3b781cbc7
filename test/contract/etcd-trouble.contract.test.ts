// Members of a cluster in a real etcd, when time, networks or etcd's data are not what they should be.
import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import type { Cidr } from "../../core/address.ts";
import type { Clock } from "../../core/clock.ts";
import { systemClock } from "../../kernel/clock.ts";
import { ip } from "../support/builders.ts";
import { type EtcdServer, startEtcd } from "../support/etcd.ts";
import {
  blocksOf,
  etcdCluster,
  sees,
  soon,
  type TestNode,
  waiting,
} from "../support/etcd-nodes.ts";
import { openRelay } from "../support/etcd-world.ts";
import { temporaryDirectory } from "../support/temporary.ts";

async function newWorld() {
  const server = await startEtcd();
  onTestFinished(() => server[Symbol.asyncDispose]());
  return { server, cluster: etcdCluster(server.endpoint) };
}

/** What a node has seen of others' blocks, from now on: each state in which one was missing. */
function losses({ source }: TestNode, ...names: readonly string[]): readonly string[] {
  const lost: string[] = [];
  source.subscribe(({ snapshot }) => {
    for (const name of names) if (!snapshot.nodes.has(name)) lost.push(name);
  });
  return lost;
}

async function relayTo(server: EtcdServer) {
  const relay = await openRelay(Number(new URL(server.endpoint).port));
  onTestFinished(() => relay[Symbol.dispose]());
  return relay;
}

const hourMs = 3_600_000;

test("clocks an hour off, and one that jumps, end no lease and free no block", async () => {
  const { cluster } = await newWorld();
  let jumpMs = 0;
  const off = (byMs: () => number): Clock => ({
    nowMs: () => systemClock.nowMs() + byMs(),
    monotonicMs: () => systemClock.monotonicMs(),
  });
  const a = cluster.start("node-a", { clock: off(() => hourMs) });
  const b = cluster.start("node-b", { address: "192.0.2.2", clock: off(() => -hourMs) });
  const c = cluster.start("node-c", { address: "192.0.2.3", clock: off(() => jumpMs) });
  const nodes = [a, b, c];
  const names = ["node-a", "node-b", "node-c"];
  for (const node of nodes) await sees(node, ...names);
  const had = names.map((name) => blocksOf(a, name));
  const claimed = await cluster.claims();
  const lost = nodes.map((node) => losses(node, ...names));
  // Longer than both leases, by a clock that is etcd's alone: a key's that nobody keeps.
  for (const ms of [hourMs, -hourMs]) {
    jumpMs = ms;
    await leaseEnds(cluster.operator, `${cluster.prefix}/clock`, 4);
  }
  expect(lost).toEqual([[], [], []]);
  for (const node of nodes) {
    expect(names.map((name) => blocksOf(node, name))).toEqual(had);
    expect(node.source.state().problems).toEqual([]);
  }
  expect(await cluster.claims()).toEqual(claimed);
});

async function leaseEnds(
  client: ReturnType<typeof etcdCluster>["operator"],
  key: string,
  seconds: number,
): Promise<void> {
  const lease = await client.grantLease(seconds, soon());
  await client.transact([], [{ kind: "put", key, value: "", lease }], soon());
  await vi.waitFor(async () => expect(await client.get(key, soon())).toBeUndefined(), waiting);
}

test("nodes of two families have a block and an address of each, and the same again", async () => {
  const { cluster } = await newWorld();
  const config = "network: { podCIDRs: [10.244.0.0/16, 'fd00:10:244::/48'] }";
  const options = (n: number) => ({ config, address: `192.0.2.${n} 2001:db8::${n}` });
  const [a, b] = [cluster.start("node-a", options(1)), cluster.start("node-b", options(2))];
  await sees(a, "node-a", "node-b");
  await sees(b, "node-a", "node-b");
  const familiesOf = (blocks: readonly Cidr[]) =>
    blocks.map((block) => (block.includes(":") ? "6" : "4")).sort();
  for (const name of ["node-a", "node-b"])
    expect(familiesOf(blocksOf(a, name))).toEqual(["4", "6"]);
  const [ofA, ofB] = [blocksOf(a, "node-a"), blocksOf(a, "node-b")];
  expect(new Set([...ofA, ...ofB]).size).toBe(4);
  expect(await cluster.claims()).toHaveLength(4);
  expect(a.source.state().snapshot.nodes.get("node-b")?.addresses).toEqual([
    ip("192.0.2.2"),
    ip("2001:db8::2"),
  ]);
  b[Symbol.dispose]();
  await sees(a, "node-a");
  const again = cluster.start("node-b", options(2));
  await sees(again, "node-a", "node-b");
  expect([...blocksOf(again, "node-b")].sort()).toEqual([...ofB].sort());
  expect([...blocksOf(again, "node-a")].sort()).toEqual([...ofA].sort());
});

test("a node cut off for longer than its leases keeps what it has, and comes back to it", async () => {
  const { server, cluster } = await newWorld();
  const relay = await relayTo(server);
  const web = { namespace: "shop", name: "web", ports: [{ protocol: "TCP", port: 80 } as const] };
  const a = cluster.start("node-a", { sweepEverySeconds: 2 });
  const b = cluster.start("node-b", {
    address: "192.0.2.2",
    endpoint: relay.endpoint,
    services: [{ ...web, addresses: [ip("10.244.1.2")] }],
  });
  await sees(a, "node-a", "node-b");
  await sees(b, "node-a", "node-b");
  await vi.waitFor(() => expect(b.source.state().snapshot.services.size).toBe(1), waiting);
  const [ofA, ofB] = [blocksOf(b, "node-a"), blocksOf(b, "node-b")];
  const lost = losses(b, "node-a", "node-b");
  relay.cut();
  // To the others it is away with its names, its blocks stay its own, and its service has no endpoint.
  await sees(a, "node-a");
  await vi.waitFor(() => expect(a.source.state().snapshot.services.size).toBe(0), waiting);
  const c = cluster.start("node-c", { address: "192.0.2.3" });
  await sees(c, "node-a", "node-c");
  expect([...ofA, ...ofB]).not.toContain(blocksOf(c, "node-c")[0]);
  expect(await cluster.claims()).toEqual(expect.arrayContaining([...ofB]));
  // For itself nothing has changed, but that it says so.
  expect(b.source.state().problems.join()).toContain("what was read last stays in force");
  expect([blocksOf(b, "node-a"), blocksOf(b, "node-b")]).toEqual([ofA, ofB]);
  await relay.mend();
  for (const node of [a, b, c]) {
    await sees(node, "node-a", "node-b", "node-c");
    expect(blocksOf(node, "node-b")).toEqual(ofB);
    await vi.waitFor(
      () => expect([...node.source.state().snapshot.services.keys()]).toEqual(["shop/web"]),
      waiting,
    );
  }
  expect(lost).toEqual([]);
});

test("a node cut off for longer than its names' lease alone makes its services again", async () => {
  const { server, cluster } = await newWorld();
  const relay = await relayTo(server);
  const web = { namespace: "shop", name: "web", ports: [{ protocol: "TCP", port: 80 } as const] };
  const a = cluster.start("node-a", { sweepEverySeconds: 2 });
  cluster.start("node-b", {
    address: "192.0.2.2",
    endpoint: relay.endpoint,
    nodeLeaseSeconds: 120,
    services: [{ ...web, addresses: [ip("10.244.1.2")] }],
  });
  const sizes = async () => {
    const { nodes, services } = await cluster.read();
    return [nodes.size, services.size];
  };
  await vi.waitFor(async () => expect(await sizes()).toEqual([2, 1]), waiting);
  relay.cut();
  await vi.waitFor(async () => expect(await sizes()).toEqual([2, 0]), waiting);
  await relay.mend();
  await vi.waitFor(async () => expect(await sizes()).toEqual([2, 1]), waiting);
  expect(a.source.state().problems).toEqual([]);
});

test("etcd restored from older data under another cluster id is told what it lacks", async () => {
  const { server, cluster } = await newWorld();
  const [a, b] = [cluster.start("node-a"), cluster.start("node-b", { address: "192.0.2.2" })];
  await sees(a, "node-a", "node-b");
  await sees(b, "node-a", "node-b");
  const file = join(temporaryDirectory(), "etcd.db");
  server.save(file);
  const c = cluster.start("node-c", { address: "192.0.2.3" });
  for (const node of [a, b, c]) await sees(node, "node-a", "node-b", "node-c");
  const names = ["node-a", "node-b", "node-c"];
  const had = names.map((name) => blocksOf(a, name));
  const key = `${cluster.prefix}/other`;
  // So that the restored data's revisions are far behind.
  for (let i = 0; i < 200; i++) {
    await cluster.operator.transact([], [{ kind: "put", key, value: `${i}` }], soon());
  }
  const lost = [losses(a, "node-a", "node-b"), losses(b, "node-a", "node-b"), losses(c, "node-c")];
  await server.restore(file);
  await vi.waitFor(async () => expect(await cluster.claims()).toEqual(had.flat().sort()), waiting);
  for (const node of [a, b, c]) {
    await sees(node, ...names);
    expect(names.map((name) => blocksOf(node, name))).toEqual(had);
  }
  expect(lost).toEqual([[], [], []]);
  // What is new is seen as before.
  const d = cluster.start("node-d", { address: "192.0.2.4" });
  for (const node of [a, b, c, d]) await sees(node, ...names, "node-d");
  expect(had.flat()).not.toContain(blocksOf(d, "node-d")[0]);
});

test("etcd restored to another cluster's data changes nothing, and both ids are named", async () => {
  const { server, cluster } = await newWorld();
  const marker = `${cluster.prefix}/cluster`;
  const a = cluster.start("node-a", { clusterId: "one" });
  const b = cluster.start("node-b", { address: "192.0.2.2", clusterId: "one" });
  await sees(a, "node-a", "node-b");
  const file = join(temporaryDirectory(), "etcd.db");
  // The other cluster's data: its mark, and no node of this one's.
  const mine = (await cluster.operator.get(marker, soon()))!.value;
  const other = await startEtcd();
  onTestFinished(() => other[Symbol.asyncDispose]());
  const there = etcdCluster(other.endpoint).operator;
  const value = JSON.stringify({ ...(JSON.parse(mine) as object), id: "two" });
  await there.transact([], [{ kind: "put", key: marker, value }], soon());
  other.save(file);
  const had = ["node-a", "node-b"].map((name) => blocksOf(a, name));
  const lost = [losses(a, "node-a", "node-b"), losses(b, "node-a", "node-b")];
  await server.restore(file);
  for (const node of [a, b]) {
    await vi.waitFor(
      () =>
        expect(node.source.state().problems.join()).toMatch(
          /it is cluster two's, and this node is one of cluster one/,
        ),
      waiting,
    );
    expect(["node-a", "node-b"].map((name) => blocksOf(node, name))).toEqual(had);
  }
  expect(lost).toEqual([[], []]);
  // Nor is anything told to the other cluster when leases have ended that its etcd never had.
  await leaseEnds(cluster.operator, "/clock", 4);
  const keys: string[] = [];
  for await (const { entries } of cluster.operator.pages(`${cluster.prefix}/`, soon())) {
    keys.push(...entries.map(({ key }) => key));
  }
  expect(keys).toEqual([marker]);
});
