// Whatever happens to the objects, the server and the way to it, in whatever order: the source comes to what
// the server has, and never loses what was there all the time.
import { expect, test, vi } from "vitest";
import type { Snapshot } from "../../core/cluster/model.ts";
import type { ApiServer } from "../support/api-server/server.ts";
import { Refusal } from "../support/api-server/status.ts";
import { inSync, isWell, open, put, remove, start, waiting } from "../support/api-source.ts";
import { resourceOf } from "../support/api-world.ts";
import { seededRandom } from "../support/random.ts";
import {
  nodeExample,
  podExample,
  serviceExample,
  sliceExample,
} from "../support/source-objects.ts";
import type { KubernetesObject } from "../support/source-world.ts";

type Example = { readonly object: KubernetesObject };

const examples: readonly ((index: number, version: number) => Example)[] = [
  (index, version) => nodeExample(`n${index}`, 1 + ((index * 20 + version) % 250)),
  (index, version) => serviceExample(`s${index}`, 1 + version),
  (index, version) => sliceExample(`s${index}`, `10.244.1.${1 + (version % 250)}`),
  (index, version) => podExample(`p${index}`, `10.244.2.${1 + (version % 250)}`),
];
const kindsOf = (snapshot: Snapshot) =>
  [snapshot.nodes, snapshot.services, snapshot.endpointSlices, snapshot.pods] as const;

/** What is always there. */
const anchor = nodeExample("anchor", 251);

async function disturb(server: ApiServer, below: (limit: number) => number): Promise<void> {
  const isThere = ({ object }: Example): boolean => {
    const { namespace, name } = object.metadata;
    return server.store.get(resourceOf(object)!, namespace, name) !== undefined;
  };
  const example = examples[below(examples.length)]!(below(6), below(200));
  switch (below(12)) {
    case 0:
      server.watches.cut();
      break;
    case 1:
      server.watches.bookmark();
      break;
    case 2:
      server.store.compact();
      break;
    case 3:
      await server.stop();
      if (below(2) === 0) put(server, example);
      if (below(2) === 0) server.store.compact();
      await new Promise((resolve) => setTimeout(resolve, below(30)));
      await server.start();
      break;
    case 4: {
      const code = [401, 403, 410, 429, 500, 503][below(6)]!;
      let left = 1 + below(4);
      server.fault = () => {
        if (left-- > 0) throw new Refusal(code, "a fault of the test");
      };
      break;
    }
    case 5:
      server.watches.say('{"type":"MODI');
      server.watches.cut();
      break;
    case 6:
    case 7:
      if (isThere(example)) remove(server, example);
      break;
    case 8:
      server.watches.delayMs = below(3) * 5;
      break;
    default:
      put(server, example);
  }
  if (below(3) === 0) await new Promise((resolve) => setTimeout(resolve, below(20)));
}

test.each([1, 2, 3, 4, 5, 6])("sequence %i ends with what the server has", async (seed) => {
  const random = seededRandom(seed);
  const below = (limit: number): number => random.below(limit);
  const server = await start();
  put(server, anchor);
  const { source, seen } = open(server);
  await inSync(source);
  // Before that a part is told, where reading takes long.
  seen.length = 0;
  for (let step = 0; step < 150; step++) await disturb(server, below);
  server.fault = undefined;
  const { source: fresh } = open(server);
  await inSync(fresh);
  const wanted = kindsOf(fresh.state().snapshot).map((kind) => Object.fromEntries(kind));
  await vi.waitFor(() => {
    const found = kindsOf(source.state().snapshot).map((kind) => Object.fromEntries(kind));
    expect(found).toEqual(wanted);
  }, waiting);
  await isWell(source);
  expect(seen.length).toBeGreaterThan(10);
  for (const snapshot of seen) {
    expect(snapshot.isInSync).toBe(true);
    expect(snapshot.nodes.get("anchor")).toEqual(anchor.model);
  }
});
