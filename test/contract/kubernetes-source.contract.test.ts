// The Kubernetes source and what goes wrong on the way to the API: nothing is torn down for it.
import { describe, expect, test, vi } from "vitest";
import {
  hasNodes,
  hasProblem,
  inSync,
  isWell,
  listsOf,
  open,
  put,
  remove,
  start,
  waiting,
  watched,
} from "../support/api-source.ts";
import { quickTiming } from "../support/api-world.ts";
import {
  namespaceExample,
  nodeExample,
  podExample,
  serviceExample,
  sliceExample,
} from "../support/source-objects.ts";

describe("a watch that breaks", () => {
  test("goes on where it was, without another list", async () => {
    const server = await start();
    put(server, nodeExample("a", 1));
    const { source } = open(server);
    await inSync(source);
    await watched(server);
    const lists = listsOf(server);
    for (const index of [2, 3, 4]) {
      server.watches.cut();
      put(server, nodeExample("a", index));
      await vi.waitFor(() => {
        const [cidr] = source.state().snapshot.nodes.get("a")!.podCidrs;
        expect(cidr).toBe(`10.244.${index}.0/24`);
      }, waiting);
      await watched(server);
    }
    expect(listsOf(server)).toBe(lists);
    await isWell(source);
  });

  test("that the server has forgotten is listed again, and nothing is torn down", async () => {
    const server = await start();
    put(server, nodeExample("a", 1), nodeExample("b", 2));
    const { source, seen } = open(server);
    await inSync(source);
    // Before that a part is told, where reading takes long.
    seen.length = 0;
    await watched(server);
    await server.stop();
    remove(server, nodeExample("b", 2));
    put(server, nodeExample("c", 3));
    server.store.compact();
    server.store.advance(5);
    server.store.compact();
    await server.start();
    await hasNodes(source, "a", "c");
    await isWell(source);
    expect(seen.every((snapshot) => snapshot.nodes.has("a") && snapshot.isInSync)).toBe(true);
  });

  test("that was forgotten is not waited for as a server is that fails", async () => {
    const server = await start();
    put(server, nodeExample("a", 1));
    let isForgotten = false;
    server.fault = ({ verb, resource }) => {
      if (verb !== "watch" || resource !== "nodes" || isForgotten) return;
      isForgotten = true;
      put(server, nodeExample("b", 2));
      server.store.compact();
    };
    const watch = { ...quickTiming.watch, firstMs: 3_600_000, mostMs: 3_600_000 };
    const { source } = open(server, { timing: { ...quickTiming, watch } });
    await hasNodes(source, "a", "b");
    await isWell(source);
  });

  test("is not forgotten where bookmarks have told how far it was", async () => {
    const server = await start();
    put(server, nodeExample("a", 1));
    const { source } = open(server);
    await inSync(source);
    await watched(server);
    server.store.advance(100);
    server.watches.bookmark();
    await new Promise((resolve) => setTimeout(resolve, 100));
    await server.stop();
    server.store.compact();
    await server.start();
    await watched(server);
    put(server, nodeExample("b", 2));
    await hasNodes(source, "a", "b");
    expect(listsOf(server)).toBe(5);
  });

  test("takes nonsense for a break", async () => {
    const server = await start();
    const { source } = open(server);
    await inSync(source);
    await watched(server);
    server.watches.say("<html>bad gateway</html>\n");
    await hasProblem(source, "from " + server.url);
    put(server, nodeExample("a", 1));
    await hasNodes(source, "a");
    await isWell(source);
    server.watches.say('{"type":"NEWS","object":{}}\n');
    put(server, nodeExample("b", 2));
    await hasNodes(source, "a", "b");
  });

  test("is asked to end now and then, which is no fault", async () => {
    const server = await start();
    const watch = { ...quickTiming.watch, watchMs: 1000 };
    const { source } = open(server, { timing: { ...quickTiming, watch } });
    const problems: string[] = [];
    source.subscribe((state) => problems.push(...state.problems));
    await inSync(source);
    const watches = () => server.calls.filter(({ verb }) => verb === "watch").length;
    await vi.waitFor(() => expect(watches()).toBeGreaterThanOrEqual(15), waiting);
    put(server, nodeExample("a", 1));
    await hasNodes(source, "a");
    expect(listsOf(server)).toBe(5);
    expect(problems).toEqual([]);
  });
});

describe("a list", () => {
  test("comes in chunks, and begins anew when its version is forgotten half way", async () => {
    const server = await start();
    const { source } = open(server);
    await inSync(source);
    await watched(server);
    await server.stop();
    const many = Array.from({ length: 1200 }, (_, i) => namespaceExample(`n${i}`));
    put(server, ...many);
    server.store.compact();
    server.store.advance();
    server.store.compact();
    let chunks = 0;
    server.fault = ({ verb, query }) => {
      if (verb !== "list" || !query.has("continue") || ++chunks !== 2) return;
      server.store.advance();
      server.store.compact();
    };
    await server.start();
    await vi.waitFor(() => expect(source.state().snapshot.namespaces.size).toBe(1200), waiting);
    await isWell(source);
    // 500, 500, refused; 500, 500, 200.
    expect(chunks).toBe(4);
  });

  test("is complete for all resources before the source is in sync", async () => {
    const server = await start();
    put(server, nodeExample("a", 1), serviceExample("web", 80));
    const gate = Promise.withResolvers<void>();
    server.fault = async ({ resource }) => {
      if (resource === "pods") await gate.promise;
    };
    const { source } = open(server);
    await hasNodes(source, "a");
    expect(source.state().snapshot.isInSync).toBe(false);
    gate.resolve();
    await inSync(source);
  });

  test("is not waited for without end", async () => {
    const server = await start();
    let isStuck = true;
    server.fault = () => (isStuck ? new Promise(() => {}) : undefined);
    const { source } = open(server);
    await hasProblem(source, "no answer within 1 s");
    isStuck = false;
    await inSync(source);
    await isWell(source);
  });
});

describe("what is read", () => {
  test("is this node's pods, or all where they are needed", async () => {
    const server = await start();
    const other = podExample("other", "10.244.2.2");
    const spec = { ...(other.object["spec"] as object), nodeName: "node-b" };
    put(server, podExample("web-1", "10.244.1.2"), { object: { ...other.object, spec } });
    const { source: own } = open(server);
    const { source: all } = open(server, { allPods: true });
    await Promise.all([inSync(own), inSync(all)]);
    expect([...own.state().snapshot.pods.keys()]).toEqual(["demo/web-1"]);
    expect([...all.state().snapshot.pods.keys()].sort()).toEqual(["demo/other", "demo/web-1"]);
    // One that is bound to the node comes into its view, and one that is gone from it leaves.
    put(server, other);
    await vi.waitFor(() => expect(own.state().snapshot.pods.size).toBe(2), waiting);
  });

  test("leaves out endpoints of no service, and names what cannot be used", async () => {
    const server = await start();
    const { object } = sliceExample("free", "10.244.1.2");
    put(server, { object: { ...object, metadata: { namespace: "demo", name: "free" } } });
    const bad = Array.from({ length: 30 }, (_, i) => ({
      object: { ...serviceExample(`bad-${i}`, 80).object, spec: { ports: [{ port: 0 }] } },
    }));
    put(server, nodeExample("a", 1), ...bad);
    const { source } = open(server);
    await hasProblem(source, "10 more objects cannot be used");
    expect(source.state().problems).toHaveLength(21);
    expect(source.state().problems[0]).toMatch(
      /^Cannot use spec\.ports\[0\]\.port 0 of Service demo/,
    );
    await hasNodes(source, "a");
    expect(source.state().snapshot.endpointSlices.size).toBe(0);
  });

  test("keeps its objects when they are written again without a change that counts", async () => {
    const server = await start();
    put(server, nodeExample("a", 1));
    const { source, seen } = open(server);
    await inSync(source);
    await watched(server);
    const { object } = nodeExample("a", 1);
    const status = { ...(object["status"] as object), images: [{ names: ["x"] }] };
    put(server, { object: { ...object, status } });
    put(server, nodeExample("b", 2));
    await hasNodes(source, "a", "b");
    expect(seen.at(-1)!.nodes.get("a")).toBe(seen[0]!.nodes.get("a"));
  });
});
