// Pod CIDRs that nodes give themselves through the Kubernetes API.
import { expect, onTestFinished, test, vi } from "vitest";
import { silentLog } from "../../core/log.ts";
import { parseConfig } from "../../daemon/config/config.ts";
import { ApiClient } from "../../daemon/kubernetes/api-client.ts";
import { openKubernetesClaims } from "../../daemon/kubernetes/claim-store.ts";
import { readOwnNode } from "../../daemon/kubernetes/own-node.ts";
import { PodCidrGiver } from "../../daemon/kubernetes/pod-cidrs.ts";
import { systemClock } from "../../kernel/clock.ts";
import { systemRandom } from "../../kernel/random.ts";
import type { ApiServer } from "../support/api-server/server.ts";
import { Refusal } from "../support/api-server/status.ts";
import { start, waiting } from "../support/api-source.ts";
import { resourceOf } from "../support/api-world.ts";

const timing = { everyMs: 5, firstMs: 5, mostMs: 50, signMs: 100 };
const object = (name: string, podCidrs: readonly string[] = []) => ({
  apiVersion: "v1",
  kind: "Node",
  metadata: { name },
  spec: podCidrs.length === 0 ? {} : { podCIDR: podCidrs[0], podCIDRs: podCidrs },
});
const resource = resourceOf(object(""))!;

function join(server: ApiServer, name: string, config = "", instance = `machine-${name}`) {
  const { network } = parseConfig(config, "test", { nodeName: name });
  const client = new ApiClient(
    { where: "test", server: server.url, isInsecure: false },
    systemClock,
  );
  const ownNode = () => {
    const found = server.store.get(resource, undefined, name);
    return found === undefined ? undefined : readOwnNode(found, name);
  };
  const ownerOf = () => ({ name, uid: ownNode()?.uid ?? "" });
  const giver = new PodCidrGiver({
    client,
    store: openKubernetesClaims({ client, namespace: "fairlead", network: network.name, ownerOf }),
    nodeName: name,
    instance,
    network,
    ownNode,
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
    timing,
  });
  onTestFinished(() => {
    giver[Symbol.dispose]();
    client[Symbol.dispose]();
  });
  return giver;
}

const podCidrsOf = (server: ApiServer, name: string): readonly string[] =>
  (server.store.get(resource, undefined, name)!["spec"] as { podCIDRs?: string[] }).podCIDRs ?? [];
const has = (server: ApiServer, name: string, ...cidrs: readonly string[]): Promise<void> =>
  vi.waitFor(() => expect(podCidrsOf(server, name)).toEqual(cidrs), waiting);

test("nodes that start together get one block each, and one of each family", async () => {
  const server = await start();
  const names = Array.from({ length: 12 }, (_, i) => `node-${i}`);
  for (const name of names) server.store.create(resource, object(name));
  const config = "network: { podCIDRs: [10.244.0.0/20, 'fd00:10:244::/60'] }";
  const givers = names.map((name) => join(server, name, config));
  await vi.waitFor(() => {
    const given = names.map((name) => podCidrsOf(server, name));
    expect(given.every((cidrs) => cidrs.length === 2)).toBe(true);
    expect(new Set(given.flat()).size).toBe(24);
  }, waiting);
  expect(givers.flatMap(({ problems }) => problems)).toEqual([]);
});

test("pod CIDRs that a node has are its own, and no other's", async () => {
  const server = await start();
  const config = "network: { podCIDRs: [10.244.0.0/23] }";
  server.store.create(resource, object("old", ["10.244.1.0/24"]));
  const old = join(server, "old", config);
  const claims = () => server.calls.filter(({ verb }) => verb === "create").length;
  // The name, the division and the block.
  await vi.waitFor(() => expect(claims()).toBe(3), waiting);
  server.store.create(resource, object("new"));
  join(server, "new", config);
  await has(server, "new", "10.244.0.0/24");
  await has(server, "old", "10.244.1.0/24");
  server.store.create(resource, object("late"));
  const late = join(server, "late", config);
  await vi.waitFor(() => {
    expect(late.problems).toEqual([
      "No pod CIDR is left for Node late: all of 10.244.0.0/23 are claimed",
    ]);
  }, waiting);
  expect(old.problems).toEqual([]);
});

test("what a controller gives meanwhile is not overwritten", async () => {
  const server = await start();
  server.store.create(resource, object("node-a"));
  let isOpen = false;
  server.fault = ({ verb, resource: name }) => {
    if (verb !== "patch" || name !== "nodes" || isOpen) return;
    isOpen = true;
    server.store.force(resource, object("node-a", ["10.244.77.0/24"]));
  };
  const giver = join(server, "node-a");
  await vi.waitFor(() => expect(isOpen).toBe(true), waiting);
  await has(server, "node-a", "10.244.77.0/24");
  await vi.waitFor(() => expect(giver.problems).toEqual([]), waiting);
});

test("two machines of one name, and an API that refuses, are named", async () => {
  const server = await start();
  server.store.create(resource, object("node-a"));
  join(server, "node-a");
  await has(server, "node-a", "10.244.0.0/24");
  const second = join(server, "node-a", "", "machine-x");
  await vi.waitFor(() => {
    expect(second.problems).toEqual([
      "Cannot claim pod CIDRs for Node node-a: another machine has the name (machine-node-a, this one is machine-x)",
    ]);
  }, waiting);
  server.fault = ({ resource: name }) => {
    if (name === "leases") throw new Refusal(403, "leases is forbidden");
  };
  server.store.create(resource, object("node-b"));
  const refused = join(server, "node-b");
  await vi.waitFor(() => expect(refused.problems[0]).toContain("403 leases is forbidden"), waiting);
  server.fault = undefined;
  await has(server, "node-b", "10.244.1.0/24");
});
