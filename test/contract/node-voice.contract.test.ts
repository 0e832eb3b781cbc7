// What a node tells the Kubernetes API of itself.
import { expect, onTestFinished, test, vi } from "vitest";
import { silentLog } from "../../core/log.ts";
import { ApiClient } from "../../daemon/kubernetes/api-client.ts";
import { NodeVoice } from "../../daemon/kubernetes/node-voice.ts";
import { type OwnNode, readOwnNode } from "../../daemon/kubernetes/own-node.ts";
import type { NodeStanding } from "../../daemon/source/source.ts";
import { systemClock } from "../../kernel/clock.ts";
import { systemRandom } from "../../kernel/random.ts";
import { pathOf, resources } from "../support/api-server/resource.ts";
import type { ApiServer } from "../support/api-server/server.ts";
import { start, waiting } from "../support/api-source.ts";
import { resourceOf } from "../support/api-world.ts";
import { nodeExample } from "../support/source-objects.ts";

const events = { lastingMs: 20, againMs: 60_000, most: 3, windowMs: 60_000 };
const timing = { everyMs: 10, firstMs: 10, mostMs: 50, events };
const nodeResource = resourceOf(nodeExample("node-a", 1).object)!;
const eventResource = resources.find(({ kind }) => kind === "Event")!;

interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
}

async function voiceOn(server: ApiServer) {
  const { object } = nodeExample("node-a", 1);
  const conditions = [
    { type: "Ready", status: "True", reason: "KubeletReady" },
    { type: "NetworkUnavailable", status: "True", reason: "NoRouteCreated" },
  ];
  const status = { ...(object["status"] as object), conditions };
  server.store.force(nodeResource, { ...object, status });
  const access = { where: "test", server: server.url, isInsecure: false };
  const client = new ApiClient(access, systemClock);
  let standing: NodeStanding = { isReady: false, problems: [] };
  const ownNode = (): OwnNode | undefined =>
    readOwnNode(server.store.get(nodeResource, undefined, "node-a"), "node-a");
  const voice = new NodeVoice({
    client,
    nodeName: "node-a",
    ownNode,
    standing: () => standing,
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
    timing,
  });
  onTestFinished(() => {
    voice[Symbol.dispose]();
    client[Symbol.dispose]();
  });
  const found = (): Record<string, string> => {
    const node = server.store.get(nodeResource, undefined, "node-a");
    const all = (node!["status"] as { conditions: Condition[] }).conditions;
    return Object.fromEntries(all.map((one) => [one.type, `${one.status} ${one.reason}`]));
  };
  const told = () =>
    server.store
      .list(eventResource, "default")
      .map(({ reason, message }) => `${String(reason)}: ${String(message)}`);
  const set = (next: Partial<NodeStanding>): void => {
    standing = { ...standing, ...next };
  };
  return { voice, found, told, set };
}

const rest = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 100));
const well = { Ready: "True KubeletReady", NetworkUnavailable: "False FairleadReady" };

test("a node that is ready says that its network is there, and nothing before", async () => {
  const server = await start();
  const { found, set } = await voiceOn(server);
  await rest();
  expect(server.calls).toEqual([]);
  set({ isReady: true });
  await vi.waitFor(() => expect(found()).toEqual(well), waiting);
  await rest();
  expect(server.calls).toHaveLength(1);
  // The rest of the status is not touched.
  const { status } = server.store.get(nodeResource, undefined, "node-a") as { status?: object };
  expect(status).toHaveProperty("addresses");
});

test("a condition that somebody sets back is set again, less and less often", async () => {
  const server = await start();
  const { found, set } = await voiceOn(server);
  set({ isReady: true });
  await vi.waitFor(() => expect(found()).toEqual(well), waiting);
  const node = server.store.get(nodeResource, undefined, "node-a")!;
  server.store.force(nodeResource, { ...node, status: { conditions: [] } });
  const only = { NetworkUnavailable: well.NetworkUnavailable };
  await vi.waitFor(() => expect(found()).toEqual(only), waiting);
});

test("a node that may not say so names it, and says it when it may", async () => {
  const server = await start({ rules: [] });
  const { voice, found, set } = await voiceOn(server);
  set({ isReady: true, problems: [{ area: "kernel", message: "Cannot write a route" }] });
  await vi.waitFor(() => {
    expect(voice.problems).toEqual([
      expect.stringMatching(/^Cannot set the condition NetworkUnavailable of Node node-a: 403 /),
      expect.stringMatching(/^Cannot write an Event of Node node-a: 403 events is forbidden/),
    ]);
  }, waiting);
  server.rules = undefined;
  await vi.waitFor(() => expect(found()).toEqual(well), waiting);
  await vi.waitFor(() => expect(voice.problems).toHaveLength(1), waiting);
});

test("problems that last become events of the node, few altogether", async () => {
  const server = await start();
  const { told, set } = await voiceOn(server);
  const problems = ["one", "two", "three", "four", "x".repeat(2000)].map((message) => ({
    area: "dns" as const,
    message,
  }));
  set({ problems: problems.slice(0, 1) });
  await vi.waitFor(() => expect(told()).toEqual(["DNSProblem: one"]), waiting);
  set({ problems: problems.toReversed() });
  await vi.waitFor(() => expect(told()).toHaveLength(3), waiting);
  await rest();
  expect(told()).toHaveLength(3);
  expect(told().find((text) => text.includes("xxx"))).toHaveLength("DNSProblem: ".length + 1024);
  const [event] = server.store.list(eventResource, "default");
  expect(event).toMatchObject({
    type: "Warning",
    involvedObject: { kind: "Node", name: "node-a" },
    source: { component: "fairlead", host: "node-a" },
  });
  expect(server.calls.every(({ verb }) => verb === "create")).toBe(true);
  expect(pathOf(eventResource, "default")).toBe("/api/v1/namespaces/default/events");
});
