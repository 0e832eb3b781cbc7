// What dead nodes leave in a real etcd, and who takes it away.
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { type Log, silentLog } from "../../core/log.ts";
import { keysUnder } from "../../daemon/etcd/keys.ts";
import { headlessService, serviceObjects } from "../../daemon/etcd/service-file.ts";
import { withdrawFromEtcd } from "../../daemon/etcd/shared-services.ts";
import { ip } from "../support/builders.ts";
import { type EtcdServer, startEtcd } from "../support/etcd.ts";
import { etcdCluster, type EtcdCluster, sees, soon, waiting } from "../support/etcd-nodes.ts";

let server: EtcdServer;
beforeAll(async () => {
  server = await startEtcd();
});
afterAll(() => server[Symbol.asyncDispose]());
const newCluster = (): EtcdCluster => etcdCluster(server.endpoint);

const put = (cluster: EtcdCluster, key: string, value: object) =>
  cluster.operator.transact(
    [],
    [{ kind: "put", key: cluster.prefix + key, value: JSON.stringify(value) }],
    soon(),
  );
const block = (node: string) => ({
  version: 1,
  node,
  session: "s",
  state: "active",
  pool: "default",
  order: 0,
});
const web = {
  namespace: "shop",
  name: "web",
  ports: [{ protocol: "TCP", port: 80 } as const],
  addresses: [ip("10.244.0.2"), ip("fd00::2")],
};

function collectingLog() {
  const lines: unknown[] = [];
  const log: Log = { ...silentLog, info: (fields, message) => lines.push([message, fields]) };
  return { log, lines };
}

test("blocks of names that no node has are freed, and the log says whose and why", async () => {
  const cluster = newCluster();
  const { log, lines } = collectingLog();
  await put(cluster, "/claims/blocks/10.244.7.0-24", block("node-x"));
  await put(cluster, "/claims/blocks/10.244.8.0-24", block("node-y"));
  const released = { version: 1, state: "released", instance: "i", session: "s", beat: 1 };
  await put(cluster, "/claims/nodes/node-y", released);
  await put(cluster, "/claims/blocks/10.244.9.0-24", block("node-z"));
  await put(cluster, "/claims/nodes/node-z", { ...released, state: "alive" });
  const a = cluster.start("node-a", { sweepEverySeconds: 2, log });
  await sees(a, "node-a");
  // node-z is silent, and nobody has said that it is gone.
  await vi.waitFor(
    async () => expect(await cluster.claims()).toEqual(["10.244.0.0/24", "10.244.9.0/24"]),
    waiting,
  );
  const message = "freed the blocks of a node that is no more";
  await vi.waitFor(() => expect(lines).toHaveLength(2), waiting);
  expect(lines).toEqual([
    [message, { node: "node-y", blocks: ["10.244.8.0/24"], why: "unfinished" }],
    [message, { node: "node-x", blocks: ["10.244.7.0/24"], why: "nameless" }],
  ]);
  expect(a.source.state().problems).toEqual([]);
});

test("one node has the turn, and the others leave it to that one", async () => {
  const cluster = newCluster();
  await put(cluster, "/sweep", {});
  await put(cluster, "/claims/blocks/10.244.7.0-24", block("node-x"));
  const a = cluster.start("node-a", { sweepEverySeconds: 1 });
  await sees(a, "node-a");
  const asked = vi.spyOn(a.client, "get");
  const key = `${cluster.prefix}/sweep`;
  await vi.waitFor(
    () => expect(asked.mock.calls.filter(([one]) => one === key).length).toBeGreaterThan(2),
    waiting,
  );
  expect(await cluster.claims()).toContain("10.244.7.0/24");
  await cluster.operator.transact([], [{ kind: "delete", key }], soon());
  await vi.waitFor(async () => expect(await cluster.claims()).toEqual(["10.244.0.0/24"]), waiting);
});

test("a published service goes when its nodes are dead, and comes back with one", async () => {
  const cluster = newCluster();
  const a = cluster.start("node-a", { sweepEverySeconds: 2 });
  await sees(a, "node-a");
  await put(cluster, "/objects/Service/shop/api", {
    apiVersion: "v1",
    kind: "Service",
    metadata: { namespace: "shop", name: "api" },
    spec: { clusterIP: "None", ports: [{ port: 80 }] },
  });
  const options = { address: "192.0.2.2", services: [web] };
  const b = cluster.start("node-b", options);
  const services = async () => [...(await cluster.read()).services.keys()].sort();
  await vi.waitFor(async () => expect(await services()).toEqual(["shop/api", "shop/web"]), waiting);
  b[Symbol.dispose]();
  await vi.waitFor(async () => expect(await services()).toEqual(["shop/api"]), waiting);
  cluster.start("node-b", options);
  await vi.waitFor(async () => expect(await services()).toEqual(["shop/api", "shop/web"]), waiting);
});

test("a service withdrawn for a daemon that does not run is gone, unless others have endpoints", async () => {
  const cluster = newCluster();
  const keys = keysUnder(cluster.prefix);
  const publish = async (node: string): Promise<void> => {
    for (const [object, value] of serviceObjects(web, node)) {
      await put(cluster, `/objects/${object.replace(" ", "/")}`, value);
    }
    await put(cluster, "/objects/Service/shop/web", headlessService(web));
  };
  const withdraw = (nodeName: string) =>
    withdrawFromEtcd(cluster.operator, { keys, nodeName }, web, soon());
  await publish("node-a");
  await publish("node-b");
  await withdraw("node-a");
  const left = await cluster.read();
  expect([...left.endpointSlices.keys()]).toEqual(["shop/web.ipv4.node-b", "shop/web.ipv6.node-b"]);
  expect([...left.services.keys()]).toEqual(["shop/web"]);
  await withdraw("node-b");
  const { services, endpointSlices } = await cluster.read();
  expect([services.size, endpointSlices.size]).toEqual([0, 0]);
});
