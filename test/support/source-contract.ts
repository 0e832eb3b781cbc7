// What every source of the cluster does, whatever it reads: the same scenarios, the same snapshots.
import { describe, expect, onTestFinished, test, vi } from "vitest";
import type { Snapshot } from "../../core/cluster/model.ts";
import type { Source } from "../../daemon/source/source.ts";
import {
  namespaceExample,
  nodeExample,
  podExample,
  serviceExample,
  sliceExample,
} from "./source-objects.ts";
import type { KubernetesObject, NewSourceWorld, SourceWorld } from "./source-world.ts";

const waiting = { timeout: 30_000, interval: 5 };

const node = nodeExample("node-a", 1);
const namespace = namespaceExample("demo", "db");
const service = serviceExample("web", 80);
const slice = sliceExample("web-1", "10.244.1.2", "10.244.1.3");
const pod = podExample("web-1", "10.244.1.2");
const everyKind = [node, namespace, service, slice, pod].map(({ object }) => object);

/** No source can use it: its port is none. */
const invalid: KubernetesObject = {
  apiVersion: "v1",
  kind: "Service",
  metadata: { namespace: "demo", name: "broken" },
  spec: { ports: [{ port: 80_000 }] },
};
const mended: KubernetesObject = { ...invalid, spec: { ports: [{ port: 80 }] } };

/** The snapshot's objects, without what differs from source to source. */
const objectsOf = ({ nodes, namespaces, services, endpointSlices, pods }: Snapshot) => ({
  nodes: Object.fromEntries(nodes),
  namespaces: Object.fromEntries(namespaces),
  services: Object.fromEntries(services),
  endpointSlices: Object.fromEntries(endpointSlices),
  pods: Object.fromEntries(pods),
});
const nothing = { nodes: {}, namespaces: {}, services: {}, endpointSlices: {}, pods: {} };
const oneOfEach = {
  nodes: { "node-a": node.model },
  namespaces: { demo: namespace.model },
  services: { "demo/web": service.model },
  endpointSlices: { "demo/web-1": slice.model },
  pods: { "demo/web-1": pod.model },
};

async function newWorld(newSourceWorld: NewSourceWorld): Promise<SourceWorld> {
  const world = await newSourceWorld();
  onTestFinished(() => world[Symbol.asyncDispose]());
  return world;
}

function opened(world: SourceWorld): Source {
  const source = world.open();
  onTestFinished(() => source[Symbol.dispose]());
  return source;
}

const has = (source: Source, objects: object): Promise<void> =>
  vi.waitFor(() => {
    expect(source.state().snapshot.revision).toBeGreaterThan(0);
    expect(objectsOf(source.state().snapshot)).toEqual(objects);
  }, waiting);
const isInSync = (source: Source): Promise<void> =>
  vi.waitFor(() => expect(source.state().snapshot.isInSync).toBe(true), waiting);
const hasProblem = (source: Source, part: string): Promise<void> =>
  vi.waitFor(() => expect(source.state().problems.join("\n")).toContain(part), waiting);
const hasNoProblem = (source: Source): Promise<void> =>
  vi.waitFor(() => expect(source.state().problems).toEqual([]), waiting);
/** It knows that it is cut off. */
const hasSomeProblem = (source: Source): Promise<void> =>
  vi.waitFor(() => expect(source.state().problems).not.toEqual([]), waiting);

/** What a place does that others need not. */
export interface PlaceTraits {
  /** It takes no objects that are invalid. */
  readonly refusesInvalid?: boolean;
}

export function describeSource(
  name: string,
  newSourceWorld: NewSourceWorld,
  traits: PlaceTraits = {},
): void {
  describe(`${name} as a source of the cluster`, () => {
    describeReading(newSourceWorld);
    describeBadInput(newSourceWorld, traits);
    describeDisconnection(newSourceWorld);
  });
}

function describeReading(newSourceWorld: NewSourceWorld): void {
  test("gives the empty snapshot first, then all that is there at once", async () => {
    const world = await newWorld(newSourceWorld);
    await world.put(...everyKind);
    const source = opened(world);
    expect(source.state()).toMatchObject({ snapshot: { revision: 0, isInSync: false } });
    const seen: Snapshot[] = [];
    source.subscribe(({ snapshot }) => seen.push(snapshot));
    await isInSync(source);
    expect(objectsOf(source.state().snapshot)).toEqual(oneOfEach);
    expect(source.state().problems).toEqual([]);
    expect(seen.filter((snapshot) => snapshot.isInSync).map(objectsOf)).toEqual([oneOfEach]);
  });

  test("is in sync with a cluster that has nothing", async () => {
    const source = opened(await newWorld(newSourceWorld));
    await isInSync(source);
    expect(objectsOf(source.state().snapshot)).toEqual(nothing);
    expect(source.state().snapshot.revision).toBeGreaterThan(0);
  });

  test("gives objects of every kind that come, change and go", async () => {
    const world = await newWorld(newSourceWorld);
    const source = opened(world);
    await isInSync(source);
    const changes = [
      { key: "nodes", name: "node-a", old: node, next: nodeExample("node-a", 7) },
      { key: "namespaces", name: "demo", old: namespace, next: namespaceExample("demo") },
      { key: "services", name: "demo/web", old: service, next: serviceExample("web", 8080) },
      {
        key: "endpointSlices",
        name: "demo/web-1",
        old: slice,
        next: sliceExample("web-1", "10.244.1.9"),
      },
      { key: "pods", name: "demo/web-1", old: pod, next: podExample("web-1", "10.244.1.9") },
    ];
    let all: Record<string, object> = nothing;
    for (const { key, name, old } of changes) {
      await world.put(old.object);
      await has(source, (all = { ...all, [key]: { [name]: old.model } }));
    }
    for (const { key, name, next } of changes) {
      await world.put(next.object);
      await has(source, (all = { ...all, [key]: { [name]: next.model } }));
    }
    for (const { key, next } of changes) {
      await world.remove(next.object);
      await has(source, (all = { ...all, [key]: {} }));
    }
    expect(source.state().snapshot.isInSync).toBe(true);
  });

  test("gives one snapshot after another, each of which stays as it was", async () => {
    const world = await newWorld(newSourceWorld);
    await world.put(...everyKind);
    const source = opened(world);
    await isInSync(source);
    const first = source.state().snapshot;
    const revisions = [first.revision];
    using _listening = source.subscribe(({ snapshot }) => revisions.push(snapshot.revision));
    const other = namespaceExample("other");
    await world.put(other.object);
    await has(source, {
      ...oneOfEach,
      namespaces: { demo: namespace.model, other: other.model },
    });
    expect(objectsOf(first)).toEqual(oneOfEach);
    // What has not changed is the very same: whoever compares need not look inside.
    const second = source.state().snapshot;
    expect(second.nodes).toBe(first.nodes);
    expect(second.namespaces.get("demo")).toBe(first.namespaces.get("demo"));
    expect(revisions).toEqual([...new Set(revisions)].sort((a, b) => a - b));
    expect(revisions.at(-1)).toBe(second.revision);
  });

  test("squashes a burst", async () => {
    const world = await newWorld(newSourceWorld);
    const source = opened(world);
    await isInSync(source);
    let changes = 0;
    source.subscribe(() => void changes++);
    const many = Array.from({ length: 300 }, (_, i) => namespaceExample(`n${i}`));
    await world.put(...many.map(({ object }) => object));
    const namespaces = Object.fromEntries(many.map(({ model }) => [model.name, model]));
    await has(source, { ...nothing, namespaces });
    expect(changes).toBeLessThan(many.length / 3);
  });

  test("tells nobody who has gone, and nobody when it has gone itself", async () => {
    const world = await newWorld(newSourceWorld);
    const [source, other] = [opened(world), opened(world)];
    await Promise.all([isInSync(source), isInSync(other)]);
    let changes = 0;
    source.subscribe(() => void changes++)[Symbol.dispose]();
    await world.put(node.object);
    await has(source, { ...nothing, nodes: { "node-a": node.model } });
    await has(other, { ...nothing, nodes: { "node-a": node.model } });
    source.subscribe(() => void changes++);
    source[Symbol.dispose]();
    await world.put(namespace.object);
    await has(other, {
      ...nothing,
      nodes: { "node-a": node.model },
      namespaces: { demo: namespace.model },
    });
    expect(changes).toBe(0);
  });
}

function describeBadInput(
  newSourceWorld: NewSourceWorld,
  { refusesInvalid = false }: PlaceTraits,
): void {
  test.skipIf(refusesInvalid)("names an invalid object, and goes on with the rest", async () => {
    const world = await newWorld(newSourceWorld);
    await world.put(mended);
    const source = opened(world);
    await isInSync(source);
    const before = source.state().snapshot.services.get("demo/broken");
    expect(before).toMatchObject({ ports: [{ port: 80 }] });
    await world.put(invalid);
    await hasProblem(source, "spec.ports[0].port 80000 of Service demo/broken");
    await world.put(node.object);
    await has(source, {
      ...nothing,
      nodes: { "node-a": node.model },
      // Its last good version.
      services: { "demo/broken": before },
    });
    expect(source.state().snapshot.isInSync).toBe(true);
    await world.put(mended);
    await hasNoProblem(source);
    await world.put(invalid);
    await hasProblem(source, "Service demo/broken");
    await world.remove(invalid);
    await hasNoProblem(source);
    await has(source, { ...nothing, nodes: { "node-a": node.model } });
  });

  test.skipIf(refusesInvalid)("is not in sync before every object has once been good", async () => {
    const world = await newWorld(newSourceWorld);
    await world.put(...everyKind, invalid);
    const source = opened(world);
    await hasProblem(source, "Service demo/broken");
    await has(source, oneOfEach);
    expect(source.state().snapshot.isInSync).toBe(false);
    await world.put(mended);
    await isInSync(source);
    expect(source.state().snapshot.services.has("demo/broken")).toBe(true);
    expect(source.state().problems).toEqual([]);
  });

  test("passes over kinds that it has no use for", async () => {
    const world = await newWorld(newSourceWorld);
    const kinds: readonly KubernetesObject[] = [
      { apiVersion: "apps/v1", kind: "Deployment", metadata: { namespace: "demo", name: "web" } },
      { apiVersion: "v1", kind: "ConfigMap", metadata: { namespace: "demo", name: "web" } },
    ];
    await world.put(...everyKind, ...kinds);
    const source = opened(world);
    await isInSync(source);
    expect(objectsOf(source.state().snapshot)).toEqual(oneOfEach);
    expect(source.state().problems).toEqual([]);
  });
}

function describeDisconnection(newSourceWorld: NewSourceWorld): void {
  test("is not in sync while it has never reached the cluster, and says why", async () => {
    const world = await newWorld(newSourceWorld);
    await world.put(...everyKind);
    await world.goAway();
    const source = opened(world);
    await hasProblem(source, source.location);
    expect(source.state().snapshot.isInSync).toBe(false);
    expect(objectsOf(source.state().snapshot)).toEqual(nothing);
    await world.comeBack();
    await isInSync(source);
    expect(objectsOf(source.state().snapshot)).toEqual(oneOfEach);
    await hasNoProblem(source);
  });

  test("keeps all while it is cut off, and then catches up", async () => {
    const world = await newWorld(newSourceWorld);
    await world.put(...everyKind);
    const source = opened(world);
    await isInSync(source);
    const seen: Snapshot[] = [];
    source.subscribe(({ snapshot }) => seen.push(snapshot));
    await world.goAway();
    await hasSomeProblem(source);
    const [changed, added] = [nodeExample("node-a", 7), nodeExample("node-b", 2)];
    await world.put(changed.object, added.object);
    await world.remove(pod.object, slice.object);
    expect(objectsOf(source.state().snapshot)).toEqual(oneOfEach);
    expect(source.state().snapshot.isInSync).toBe(true);
    await world.comeBack();
    const after = {
      ...oneOfEach,
      nodes: { "node-a": changed.model, "node-b": added.model },
      endpointSlices: {},
      pods: {},
    };
    await has(source, after);
    await hasNoProblem(source);
    // Never a moment with less than there was, nor one that was out of sync.
    expect(seen.every((snapshot) => snapshot.isInSync)).toBe(true);
    expect(seen.every((snapshot) => snapshot.nodes.has("node-a"))).toBe(true);
    expect(seen.every((snapshot) => snapshot.services.has("demo/web"))).toBe(true);
  });

  test("sees what changes after it was cut off again and again", async () => {
    const world = await newWorld(newSourceWorld);
    const source = opened(world);
    await isInSync(source);
    for (const index of [1, 2, 3]) {
      const example = nodeExample("node-a", index);
      await world.goAway();
      await hasSomeProblem(source);
      await world.comeBack();
      await world.put(example.object);
      await has(source, { ...nothing, nodes: { "node-a": example.model } });
    }
    await hasNoProblem(source);
  });
}
