// Nodes that find their places in a real etcd, without kernels: blocks, Node objects, names, services.
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import type { Cidr } from "../../core/address.ts";
import type { PublishedService } from "../../daemon/etcd/service-file.ts";
import type { Use } from "../../ipam/claims/agent.ts";
import { standardDemand } from "../../ipam/claims/demand.ts";
import { ip } from "../support/builders.ts";
import { type EtcdServer, startEtcd } from "../support/etcd.ts";
import {
  blocksOf,
  etcdCluster,
  type EtcdCluster,
  sees,
  soon,
  waiting,
} from "../support/etcd-nodes.ts";
import { serviceExample } from "../support/source-objects.ts";

let server: EtcdServer;
beforeAll(async () => {
  server = await startEtcd();
});
afterAll(() => server[Symbol.asyncDispose]());
const newCluster = (): EtcdCluster => etcdCluster(server.endpoint);

test("nodes that start together have a block each, and see one another", async () => {
  const { start } = newCluster();
  const names = ["node-a", "node-b", "node-c", "node-d", "node-e"];
  const nodes = names.map((name, i) => start(name, { address: `192.0.2.${i + 1}` }));
  for (const node of nodes) await sees(node, ...names);
  const blocks = names.flatMap((name) => blocksOf(nodes[0]!, name));
  expect(new Set(blocks).size).toBe(names.length);
  expect(nodes.map((node) => names.flatMap((name) => blocksOf(node, name)))).toEqual(
    nodes.map(() => blocks),
  );
});

test("a node that dies disappears after its lease; one that returns has its block again", async () => {
  const { start } = newCluster();
  const [a, b] = [start("node-a"), start("node-b", { address: "192.0.2.2" })];
  await sees(a, "node-a", "node-b");
  const had = blocksOf(a, "node-b");
  b[Symbol.dispose]();
  await sees(a, "node-a");
  const c = start("node-c", { address: "192.0.2.3" });
  await sees(a, "node-a", "node-c");
  expect(blocksOf(c, "node-c")).not.toEqual(had);
  const again = start("node-b", { address: "192.0.2.2" });
  await sees(again, "node-a", "node-b", "node-c");
  expect(blocksOf(again, "node-b")).toEqual(had);
});

test("a second machine of a node's name gets nothing, and takes nothing from the first", async () => {
  const { start } = newCluster();
  const first = start("node-a");
  await sees(first, "node-a");
  const blocks = blocksOf(first, "node-a");
  const second = start("node-a", { instance: "another", address: "192.0.2.2" });
  await vi.waitFor(
    () =>
      expect(second.source.state().problems.join()).toMatch(
        /Cannot join as Node node-a: another machine has the name \(machine of node-a, this one is another\)/,
      ),
    waiting,
  );
  expect(second.source.state().snapshot.isInSync).toBe(false);
  expect(blocksOf(second, "node-a")).toEqual([]);
  expect(blocksOf(first, "node-a")).toEqual(blocks);
  expect(first.source.state().problems).toEqual([]);
});

test("a node of another configuration is refused, naming what differs, and reads nothing", async () => {
  const { start, prefix } = newCluster();
  const a = start("node-a");
  await sees(a, "node-a");
  for (const [config, problem] of [
    ["network: { name: other }", `whose network is "fairlead", and this node's is "other"`],
    ["network: { vxlan: { vni: 7 } }", `whose vni is 1, and this node's is 7`],
    ["network: { podCIDRs: [10.99.0.0/16] }", `whose podCIDRs is ["10.244.0.0/16"]`],
    ["network: { nodePrefixLength: { ipv4: 26 } }", "the cluster divides 10.244.0.0/16 into /24"],
  ] as const) {
    const other = start("node-b", { config });
    await vi.waitFor(
      () => expect(other.source.state().problems.join()).toContain(problem),
      waiting,
    );
    if (!problem.startsWith("the cluster")) {
      expect(other.source.state().problems.join()).toContain(`${prefix}/cluster`);
    }
    expect(other.source.state().snapshot.isInSync).toBe(false);
    other[Symbol.dispose]();
  }
  await sees(a, "node-a");
});

test("a node whose block fills gets another, and gives it back when it is empty", async () => {
  const { start, read, claims } = newCluster();
  let isFull = true;
  const use = (block: Cidr): Use =>
    isFull && block === "10.244.0.0/24"
      ? { used: 250, quarantined: 0, free: 3 }
      : { used: 0, quarantined: 0, free: 253 };
  const policy = { ...standardDemand, idleMs: 500, leavingMs: 500 };
  const node = start("node-a", { use, policy });
  await vi.waitFor(
    () => expect(blocksOf(node, "node-a")).toEqual(["10.244.0.0/24", "10.244.1.0/24"]),
    waiting,
  );
  await vi.waitFor(
    async () => expect((await read()).nodes.get("node-a")?.podCidrs).toHaveLength(2),
    waiting,
  );
  isFull = false;
  await vi.waitFor(() => expect(blocksOf(node, "node-a")).toEqual(["10.244.0.0/24"]), waiting);
  await vi.waitFor(async () => expect(await claims()).toEqual(["10.244.0.0/24"]), waiting);
});

test("a cluster without a block left says so, and the others go on", async () => {
  const { start } = newCluster();
  const config =
    "network: { podCIDRs: [10.244.0.0/24], nodePrefixLength: { ipv4: 25 }, name: small }";
  const [a, b] = [start("node-a", { config }), start("node-b", { config, address: "192.0.2.2" })];
  await sees(a, "node-a", "node-b");
  await sees(b, "node-a", "node-b");
  const c = start("node-c", { config, address: "192.0.2.3" });
  await vi.waitFor(
    () =>
      expect(c.source.state().problems.join()).toContain(
        "No block of pool default is left for Node node-c, IPv4: of 10.244.0.0/24 all are other nodes'",
      ),
    waiting,
  );
  await sees(a, "node-a", "node-b");
});

const web = { namespace: "shop", name: "web", ports: [{ protocol: "TCP", port: 80 } as const] };

test("endpoints of several nodes are one service, while one of them has any", async () => {
  const { start, read } = newCluster();
  const a = start("node-a", { services: [{ ...web, addresses: [ip("10.244.0.2")] }] });
  const b = start("node-b", {
    address: "192.0.2.2",
    services: [{ ...web, addresses: [ip("10.244.1.2"), ip("fd00::2")] }],
  });
  await vi.waitFor(() => {
    const { services, endpointSlices } = a.source.state().snapshot;
    expect(services.get("shop/web")).toMatchObject({ isHeadless: true, ports: [{ port: 80 }] });
    const endpoints = [...endpointSlices.values()].flatMap((slice) => slice.endpoints);
    expect(endpoints.flatMap(({ addresses }) => addresses).sort()).toEqual([
      "10.244.0.2",
      "10.244.1.2",
      "fd00::2",
    ]);
  }, waiting);
  b[Symbol.dispose]();
  await vi.waitFor(
    () =>
      expect([...a.source.state().snapshot.endpointSlices.keys()]).toEqual([
        "shop/web.ipv4.node-a",
      ]),
    waiting,
  );
  expect((await read()).services.has("shop/web")).toBe(true);
});

test("a node that withdraws leaves the service to those that still have endpoints of it", async () => {
  const { start, read } = newCluster();
  const services: PublishedService[] = [{ ...web, addresses: [ip("10.244.0.2")] }];
  const a = start("node-a", { services });
  const b = start("node-b", {
    address: "192.0.2.2",
    services: [{ ...web, addresses: [ip("10.244.1.2")] }],
  });
  await vi.waitFor(() => expect(b.source.state().snapshot.endpointSlices.size).toBe(2), waiting);
  await sees(a, "node-a", "node-b");
  services.length = 0;
  a.member.wake();
  await vi.waitFor(async () => expect((await read()).endpointSlices.size).toBe(1), waiting);
  // What would follow has followed when the node's next round is over.
  const round = a.source.state().snapshot.revision;
  services.push({ ...web, namespace: "other", addresses: [ip("10.244.0.2")] });
  a.member.wake();
  await vi.waitFor(
    () => expect(a.source.state().snapshot.revision).toBeGreaterThan(round),
    waiting,
  );
  await vi.waitFor(
    async () => expect((await read()).services.has("other/web")).toBe(true),
    waiting,
  );
  expect((await read()).services.has("shop/web")).toBe(true);
});

test("the last node that withdraws takes a published service away, an operator's it leaves", async () => {
  const { start, operator, prefix, read } = newCluster();
  const own = serviceExample("api", 443);
  await operator.transact(
    [],
    [{ kind: "put", key: `${prefix}/objects/Service/demo/api`, value: JSON.stringify(own.object) }],
    soon(),
  );
  const services: PublishedService[] = [
    { ...web, addresses: [ip("10.244.0.2")] },
    { ...web, namespace: "demo", name: "api", addresses: [ip("10.244.0.3")] },
  ];
  const a = start("node-a", { services });
  await vi.waitFor(() => expect(a.source.state().snapshot.endpointSlices.size).toBe(2), waiting);
  await vi.waitFor(() => expect(a.source.state().snapshot.services.size).toBe(2), waiting);
  services.length = 0;
  a.member.wake();
  await vi.waitFor(async () => {
    const snapshot = await read();
    expect([...snapshot.services.keys()]).toEqual(["demo/api"]);
    expect(snapshot.endpointSlices.size).toBe(0);
  }, waiting);
  expect((await read()).services.get("demo/api")).toEqual({ ...own.model });
});

test("etcd that was emptied is told everything again, and nothing is taken down meanwhile", async () => {
  const { start, operator, prefix, read, claims } = newCluster();
  const [a, b] = [start("node-a"), start("node-b", { address: "192.0.2.2" })];
  await sees(a, "node-a", "node-b");
  await sees(b, "node-a", "node-b");
  const had = [blocksOf(a, "node-a"), blocksOf(a, "node-b")];
  for await (const page of operator.pages(`${prefix}/`, soon())) {
    const writes = page.entries.map(({ key }) => ({ kind: "delete", key }) as const);
    await operator.transact([], writes, soon());
  }
  await vi.waitFor(async () => {
    const { nodes } = await read();
    expect([nodes.get("node-a")?.podCidrs, nodes.get("node-b")?.podCidrs]).toEqual(had);
  }, waiting);
  expect(blocksOf(a, "node-a")).toEqual(had[0]);
  await sees(a, "node-a", "node-b");
  await vi.waitFor(async () => expect(await claims()).toEqual(had.flat().sort()), waiting);
});
