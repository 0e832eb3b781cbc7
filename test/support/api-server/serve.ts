// The small API server as a process, for a lab: node serve.ts ADDRESS PORT CONTROL MANIFESTS. Each connection
// to the Unix socket CONTROL brings one command as a line of JSON, and takes one answer.
import { readdirSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { parseAllDocuments } from "yaml";
import { resourceOf } from "../api-world.ts";
import type { KubernetesObject } from "../source-world.ts";
import { ApiServer } from "./server.ts";

export type Command =
  | { readonly do: "stop" | "start" | "compact" }
  | { readonly do: "put" | "remove" | "get"; readonly object: KubernetesObject };

const [address = "127.0.0.1", port = "6443", control = "", manifests = ""] = process.argv.slice(2);
const server = await ApiServer.start({ listen: { address, port: Number(port) } });
for (const file of readdirSync(manifests)) {
  for (const document of parseAllDocuments(readFileSync(join(manifests, file), "utf8"))) {
    put(document.toJS() as KubernetesObject);
  }
}
createServer((socket) => {
  createInterface({ input: socket }).once("line", (line) => {
    void obey(JSON.parse(line) as Command).then((answer) => socket.end(JSON.stringify(answer)));
  });
}).listen(control);

function put(object: KubernetesObject): void {
  const resource = resourceOf(object);
  if (resource !== undefined) server.store.force(resource, object);
}

async function obey(command: Command): Promise<unknown> {
  switch (command.do) {
    case "stop":
      await server.stop();
      return "stopped";
    case "start":
      await server.start();
      return "started";
    case "compact":
      server.store.compact();
      return "compacted";
    case "put":
      put(command.object);
      return "put";
    case "remove":
    case "get": {
      const { namespace, name } = command.object.metadata;
      const resource = resourceOf(command.object)!;
      if (command.do === "get") return server.store.get(resource, namespace, name) ?? null;
      server.store.remove(resource, { namespace, name });
      return "removed";
    }
  }
}
