// The cluster's API server, or its etcd, as a process: node server.ts kubernetes|etcd. Says its URL; a line
// `KIND INDEX ROUND` on standard input changes one object and says when.
import { createInterface } from "node:readline";
import { EtcdClient } from "../../daemon/etcd/client.ts";
import { keyOfObject, keysUnder } from "../../daemon/etcd/keys.ts";
import { objectKeyOf } from "../../daemon/source/cluster-object.ts";
import { ApiServer } from "../../test/support/api-server/server.ts";
import { resourceOf } from "../../test/support/api-world.ts";
import { startEtcd } from "../../test/support/etcd.ts";
import type { KubernetesObject } from "../../test/support/source-world.ts";
import { large, nodeObject, objectsOf, serviceObject, sliceObject } from "./cluster.ts";

export type SourceKind = "kubernetes" | "etcd";

interface Server {
  readonly url: string;
  put(...objects: readonly KubernetesObject[]): Promise<void>;
  end(): Promise<void>;
}

const server = process.argv[2] === "etcd" ? await startRealEtcd() : await startApiServer();
let batch: KubernetesObject[] = [];
for (const object of objectsOf(large)) {
  if (batch.push(object) < 100) continue;
  await server.put(...batch);
  batch = [];
}
await server.put(...batch);
process.stdout.write(`${JSON.stringify({ url: server.url })}\n`);

async function startApiServer(): Promise<Server> {
  const api = await ApiServer.start();
  return {
    url: api.url,
    put: async (...objects) => {
      for (const object of objects) api.store.force(resourceOf(object)!, object);
    },
    end: async () => {},
  };
}

/** With the objects as nodes of fairlead's write them: nothing in them that nobody reads. */
async function startRealEtcd(): Promise<Server> {
  const etcd = await startEtcd();
  const client = new EtcdClient({ endpoints: [etcd.endpoint] });
  const keys = keysUnder("/fairlead");
  return {
    url: etcd.endpoint,
    put: async (...objects) => {
      const writes = objects.map((object) => ({
        kind: "put" as const,
        key: keyOfObject(objectKeyOf(object.kind, object.metadata), keys),
        value: JSON.stringify(slim(object)),
      }));
      await client.transact([], writes, AbortSignal.timeout(60_000));
    },
    end: async () => await etcd[Symbol.asyncDispose](),
  };
}

function slim(object: KubernetesObject): object {
  const { managedFields: _, ...metadata } = object.metadata;
  if (object.kind !== "Node") return { ...object, metadata };
  const { addresses, beat } = object["status"] as { addresses: unknown; beat?: number };
  return { ...object, metadata, status: { addresses, beat } };
}

createInterface({ input: process.stdin })
  .on("line", (line) => {
    const [kind, index, round] = line.split(" ");
    const at = performance.timeOrigin + performance.now();
    const said = (): void => void process.stdout.write(`${JSON.stringify({ at })}\n`);
    void server.put(changed(kind, Number(index), Number(round))).then(said);
  })
  .once("close", () => void server.end().then(() => process.exit(0)));

function changed(kind: string | undefined, index: number, round: number): KubernetesObject {
  if (kind === "slice") return sliceObject(index, large, round);
  if (kind === "service") return serviceObject(index, round);
  // What a kubelet writes every few minutes: nothing in it is used.
  const node = nodeObject(index);
  return { ...node, status: { ...(node["status"] as object), beat: round } };
}
