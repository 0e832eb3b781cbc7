// The cluster's API server as a process: node server.ts. Says its URL; a line `KIND INDEX ROUND` on standard
// input changes one object and says when.
import { createInterface } from "node:readline";
import { ApiServer } from "../../test/support/api-server/server.ts";
import { resourceOf } from "../../test/support/api-world.ts";
import type { KubernetesObject } from "../../test/support/source-world.ts";
import { large, nodeObject, objectsOf, serviceObject, sliceObject } from "./cluster.ts";

const server = await ApiServer.start();
const put = (object: KubernetesObject): void => {
  server.store.force(resourceOf(object)!, object);
};
for (const object of objectsOf(large)) put(object);
server.store.compact();
process.stdout.write(`${JSON.stringify({ url: server.url })}\n`);

createInterface({ input: process.stdin })
  .on("line", (line) => {
    const [kind, index, round] = line.split(" ");
    const at = performance.timeOrigin + performance.now();
    put(changed(kind, Number(index), Number(round)));
    process.stdout.write(`${JSON.stringify({ at })}\n`);
  })
  .once("close", () => process.exit(0));

function changed(kind: string | undefined, index: number, round: number): KubernetesObject {
  if (kind === "slice") return sliceObject(index, large, round);
  if (kind === "service") return serviceObject(index, round);
  // What a kubelet writes every few minutes: nothing in it is used.
  const node = nodeObject(index);
  return { ...node, status: { ...(node["status"] as object), beat: round } };
}
