// Nodes that never come back, taken out of a real etcd.
import { execFileSync, spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { type NodeReleaseOptions, releaseFromEtcd } from "../../daemon/etcd/release-node.ts";
import { systemClock } from "../../kernel/clock.ts";
import { systemRandom } from "../../kernel/random.ts";
import { type EtcdServer, startEtcd } from "../support/etcd.ts";
import {
  blocksOf,
  etcdCluster,
  type EtcdCluster,
  sees,
  soon,
  waiting,
} from "../support/etcd-nodes.ts";
import { temporaryDirectory } from "../support/temporary.ts";

let server: EtcdServer;
beforeAll(async () => {
  server = await startEtcd();
});
afterAll(() => server[Symbol.asyncDispose]());
const newCluster = (): EtcdCluster => etcdCluster(server.endpoint);

const release = (
  { operator: client, prefix }: EtcdCluster,
  node: string,
  options: Partial<NodeReleaseOptions> = {},
) => {
  const usual = { isForced: false, silenceMs: 50, onWait: () => {} };
  const sources = { clock: systemClock, random: systemRandom };
  return releaseFromEtcd(node, { client, prefix, ...usual, ...sources, ...options }, soon());
};

/** node-a, which lives, and node-b, which has died. */
async function withDeadNode() {
  const cluster = newCluster();
  const [a, b] = [cluster.start("node-a"), cluster.start("node-b", { address: "192.0.2.2" })];
  await sees(a, "node-a", "node-b");
  const block = blocksOf(a, "node-b")[0]!;
  b[Symbol.dispose]();
  return { cluster, a, block };
}

test("a node whose lease has ended gives up its name and blocks, and others get them", async () => {
  const { cluster, a, block } = await withDeadNode();
  await sees(a, "node-a");
  const own = blocksOf(a, "node-a");
  expect(await cluster.claims()).toContain(block);
  expect(await release(cluster, "node-b")).toEqual({
    node: "node-b",
    blocks: [block],
    hadNodeObject: false,
  });
  expect(await cluster.claims()).toEqual(own);
  // Another machine may have the name, and another node the block.
  const other = cluster.start("node-b", { instance: "another", address: "192.0.2.3" });
  await sees(other, "node-a", "node-b");
  expect(blocksOf(a, "node-a")).toEqual(own);
  expect(a.source.state().problems).toEqual([]);
});

test("a node whose lease is alive is refused unless it is forced, and then all of it goes", async () => {
  const { cluster, a, block } = await withDeadNode();
  const before = await cluster.claims();
  await cluster.operator.transact(
    [],
    // Without a lease: it stays while this test looks.
    [{ kind: "put", key: `${cluster.prefix}/objects/Node/node-b`, value: nodeText("node-b") }],
    soon(),
  );
  await expect(release(cluster, "node-b")).rejects.toThrow(
    /Cannot release Node node-b: its lease is alive.*--force/,
  );
  expect(await cluster.claims()).toEqual(before);
  expect(await release(cluster, "node-b", { isForced: true })).toEqual({
    node: "node-b",
    blocks: [block],
    hadNodeObject: true,
  });
  await sees(a, "node-a");
  expect(await cluster.claims()).toEqual(blocksOf(a, "node-a"));
});

test("a node that shows a sign of life while it is waited for keeps what it has", async () => {
  const { cluster, a, block } = await withDeadNode();
  await sees(a, "node-a");
  const before = await cluster.claims();
  const waited: number[] = [];
  let back: ReturnType<typeof cluster.start> | undefined;
  await expect(
    release(cluster, "node-b", {
      silenceMs: 3000,
      onWait: (ms) => {
        waited.push(ms);
        back = cluster.start("node-b", { address: "192.0.2.2" });
      },
    }),
  ).rejects.toThrow("Cannot release Node node-b: it showed a sign of life, and keeps what it has");
  expect(waited).toEqual([3000]);
  expect(await cluster.claims()).toEqual(before);
  await sees(back!, "node-a", "node-b");
  expect(blocksOf(back!, "node-b")).toEqual([block]);
});

test("a release that was broken off is finished by the next; a name nobody has is refused", async () => {
  const { cluster, a, block } = await withDeadNode();
  await sees(a, "node-a");
  const key = `${cluster.prefix}/claims/nodes/node-b`;
  const record = JSON.parse((await cluster.operator.get(key, soon()))!.value) as object;
  const value = JSON.stringify({ ...record, state: "released" });
  await cluster.operator.transact([], [{ kind: "put", key, value }], soon());
  expect(await release(cluster, "node-b", { silenceMs: 1e9 })).toMatchObject({ blocks: [block] });
  await expect(release(cluster, "node-b", { isForced: true })).rejects.toThrow(
    "Cannot release Node node-b: etcd knows no node of this name; it has node-a",
  );
});

test("a node whose name was removed by hand gives up its blocks", async () => {
  const { cluster, a, block } = await withDeadNode();
  await sees(a, "node-a");
  const key = `${cluster.prefix}/claims/nodes/node-b`;
  await cluster.operator.transact([], [{ kind: "delete", key }], soon());
  expect(await release(cluster, "node-b", { silenceMs: 1e9 })).toMatchObject({ blocks: [block] });
  expect(await cluster.operator.get(key, soon())).toBeUndefined();
});

test("`fairlead ipam release` says what it freed, and refuses other sources", async () => {
  const { cluster, block } = await withDeadNode();
  const directory = temporaryDirectory();
  const main = join(import.meta.dirname, "../../cli/main.ts");
  const command = (cluster: string): string[] => {
    const config = join(directory, "fairlead.yaml");
    writeFileSync(config, `cluster: ${cluster}\n`);
    return [main, "ipam", "release", "node-b", "--force", "--config", config];
  };
  const etcd = `{ endpoints: ["${server.endpoint}"], prefix: ${cluster.prefix} }`;
  const words = command(`{ source: etcd, etcd: ${etcd} }`);
  expect(execFileSync(process.execPath, words, { encoding: "utf8" })).toMatch(
    new RegExp(`^released node-b: its name(, its Node object)?, blocks ${block}\n$`),
  );
  await vi.waitFor(async () => expect(await cluster.claims()).toHaveLength(1), waiting);
  for (const [source, hint] of [
    ["file", "take the Node out of the manifests"],
    ["kubernetes", "kubectl delete node node-b"],
  ] as const) {
    const refused = spawnSync(process.execPath, command(`{ source: ${source} }`), {
      encoding: "utf8",
    });
    expect([refused.status, refused.stderr]).toEqual([
      1,
      expect.stringContaining(
        `Cannot release Node node-b: cluster.source is ${source}, expected etcd; ${hint}`,
      ),
    ]);
  }
});

const nodeText = (name: string): string =>
  JSON.stringify({ apiVersion: "v1", kind: "Node", metadata: { name } });
