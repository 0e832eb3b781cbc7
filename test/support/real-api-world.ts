// A real API server in the hands of the contract suite: FAIRLEAD_TEST_KUBECONFIG names a kubeconfig of an
// administrator. Nobody else may use the server, and no controller may run: its objects are removed.
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import type { Node, Snapshot } from "../../core/cluster/model.ts";
import { silentLog } from "../../core/log.ts";
import { ApiClient, type ApiRequest } from "../../daemon/kubernetes/api-client.ts";
import { ApiError } from "../../daemon/kubernetes/api-error.ts";
import { readKubeconfig } from "../../daemon/kubernetes/kubeconfig.ts";
import { openKubernetesSource } from "../../daemon/kubernetes/kubernetes-source.ts";
import type { Source, SourceState } from "../../daemon/source/source.ts";
import { systemClock } from "../../kernel/clock.ts";
import { systemRandom } from "../../kernel/random.ts";
import { pathOf, resources } from "./api-server/resource.ts";
import { quickTiming, resourceOf } from "./api-world.ts";
import type { KubernetesObject, SourceWorld } from "./source-world.ts";

const { signal } = new AbortController();

/** Objects that a server makes by itself, and the namespace that the suite's objects are in. */
const standing = /^(Namespace (default|demo|kube-.*)|(Service|EndpointSlice) default\/kubernetes)$/;

export async function realApiWorld(kubeconfig: string): Promise<SourceWorld> {
  const access = readKubeconfig(kubeconfig);
  const client = new ApiClient(access, systemClock);
  const ask = (request: ApiRequest): Promise<unknown> => client.ask(request, signal);
  const put = new Set<string>();
  const world = new RealObjects(ask, put);
  await world.clear();
  await world.make({ apiVersion: "v1", kind: "Namespace", metadata: { name: "demo" } });
  put.clear();
  const proxy = await Proxy.open(new URL(access.server));
  return {
    open: () => {
      const through = new ApiClient({ ...access, server: proxy.url }, systemClock);
      const options = { nodeName: "node-a", allPods: true, random: systemRandom, log: silentLog };
      const source = openKubernetesSource({
        ...options,
        client: through,
        clock: systemClock,
        timing: quickTiming,
      });
      return filtered(source, put, through);
    },
    put: async (...objects) => {
      // In the order given where one needs the other, and at once where there are many.
      if (objects.length < 20) for (const object of objects) await world.make(object);
      else await Promise.all(objects.map((object) => world.make(object)));
    },
    remove: async (...objects) => {
      for (const object of objects) await world.unmake(object);
    },
    goAway: () => proxy.close(),
    comeBack: () => proxy.start(),
    [Symbol.asyncDispose]: async () => {
      await proxy.close();
      await world.clear();
      client[Symbol.dispose]();
    },
  };
}

const nameOf = ({ kind, metadata: { namespace, name } }: KubernetesObject): string =>
  namespace === undefined ? `${kind} ${name}` : `${kind} ${namespace}/${name}`;

class RealObjects {
  readonly #ask: (request: ApiRequest) => Promise<unknown>;
  readonly #put: Set<string>;

  constructor(ask: (request: ApiRequest) => Promise<unknown>, put: Set<string>) {
    this.#ask = ask;
    this.#put = put;
  }

  async make(object: KubernetesObject): Promise<void> {
    const resource = resourceOf(object);
    if (resource === undefined) return;
    const { namespace, name } = object.metadata;
    const [all, one] = [pathOf(resource, namespace), pathOf(resource, namespace, name)];
    this.#put.add(nameOf(object));
    const found = (await this.#find(one)) as KubernetesObject | undefined;
    if (found === undefined) await this.#ask({ method: "POST", path: all, body: object });
    else {
      const metadata = { ...found.metadata, annotations: {}, ...object.metadata };
      const spec = { ...(found["spec"] as object), ...(object["spec"] as object) };
      const body = { ...found, ...object, metadata, ...("spec" in found && { spec }) };
      try {
        await this.#ask({ method: "PUT", path: one, body });
      } catch (error) {
        // A node's pod CIDRs are given once.
        if (!(error instanceof ApiError) || error.code !== 422) throw error;
        await this.#delete(one);
        await this.#ask({ method: "POST", path: all, body: object });
      }
    }
    if (!("status" in object)) return;
    const body = { status: object["status"] };
    const contentType = "application/merge-patch+json";
    await this.#ask({ method: "PATCH", path: `${one}/status`, body, contentType });
  }

  async unmake(object: KubernetesObject): Promise<void> {
    const resource = resourceOf(object);
    if (resource === undefined) return;
    const { namespace, name } = object.metadata;
    const path = pathOf(resource, namespace, name);
    if (resource.kind === "Namespace" && name === "demo") this.#put.delete(nameOf(object));
    if (resource.kind === "Namespace") await this.#deleteNamespace(path, name);
    else await this.#delete(path);
  }

  async clear(): Promise<void> {
    for (const resource of resources) {
      if (resource.kind === "Event" || resource.kind === "Lease" || resource.kind === "ConfigMap") {
        continue;
      }
      const { items } = (await this.#ask({ path: pathOf(resource) })) as {
        items: KubernetesObject[];
      };
      for (const { metadata } of items) {
        const object = { ...metadata, kind: resource.kind, apiVersion: "", metadata };
        if (standing.test(nameOf(object)) && metadata.name !== "demo") continue;
        const path = pathOf(resource, metadata.namespace, metadata.name);
        if (resource.kind === "Namespace") await this.#deleteNamespace(path, metadata.name);
        else await this.#delete(path);
      }
    }
  }

  async #find(path: string): Promise<unknown> {
    try {
      return await this.#ask({ path });
    } catch (error) {
      if (error instanceof ApiError && error.code === 404) return undefined;
      throw error;
    }
  }

  async #delete(path: string): Promise<void> {
    const body = { kind: "DeleteOptions", apiVersion: "v1", gracePeriodSeconds: 0 };
    try {
      await this.#ask({ method: "DELETE", path, body });
    } catch (error) {
      if (!(error instanceof ApiError) || error.code !== 404) throw error;
    }
  }

  /** A controller would remove what holds it. */
  async #deleteNamespace(path: string, name: string): Promise<void> {
    await this.#delete(path);
    const body = {
      apiVersion: "v1",
      kind: "Namespace",
      metadata: { name },
      spec: { finalizers: [] },
    };
    await this.#ask({ method: "PUT", path: `${path}/finalize`, body }).catch(() => {});
    // Until then a second one of its name is refused.
    for (let i = 0; i < 200 && (await this.#find(path)) !== undefined; i++) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

/** The source without what the server has of itself, and with the time of birth that the suite gives. */
function filtered(source: Source, put: ReadonlySet<string>, client: ApiClient): Source {
  const known = new WeakMap<Snapshot, Snapshot>();
  const maps = new WeakMap<object, ReadonlyMap<string, unknown>>();
  const nodes = new WeakMap<Node, Node>();
  const without = <T>(kind: string, map: ReadonlyMap<string, T>, change = (one: T): T => one) => {
    const isOwn = (key: string): boolean =>
      !standing.test(`${kind} ${key}`) || put.has(`${kind} ${key}`);
    const kept = [...map]
      .filter(([key]) => isOwn(key))
      .map(([key, one]) => [key, change(one)] as const);
    const before = maps.get(map) as ReadonlyMap<string, T> | undefined;
    if (before?.size === kept.length) return before;
    const made = new Map(kept);
    maps.set(map, made);
    return made;
  };
  const born = (node: Node): Node => {
    const createdAtMs = Date.parse("2026-01-31T12:00:00Z");
    const made = nodes.get(node) ?? { ...node, createdAtMs };
    nodes.set(node, made);
    return made;
  };
  const change = ({ snapshot, problems }: SourceState): SourceState => {
    const made = known.get(snapshot) ?? {
      ...snapshot,
      nodes: without("Node", snapshot.nodes, born),
      namespaces: without("Namespace", snapshot.namespaces),
      services: without("Service", snapshot.services),
      endpointSlices: without("EndpointSlice", snapshot.endpointSlices),
    };
    known.set(snapshot, made);
    return { snapshot: made, problems };
  };
  return {
    kind: source.kind,
    location: source.location,
    state: () => change(source.state()),
    subscribe: (listener) => source.subscribe((state) => listener(change(state))),
    [Symbol.dispose]: () => {
      source[Symbol.dispose]();
      client[Symbol.dispose]();
    },
  };
}

/** Between a source and the server: what goes away is the way. */
class Proxy {
  readonly #to: URL;
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;
  #port = 0;

  private constructor(to: URL) {
    this.#to = to;
  }

  static async open(to: URL): Promise<Proxy> {
    const proxy = new Proxy(to);
    await proxy.start();
    return proxy;
  }

  get url(): string {
    return `${this.#to.protocol}//127.0.0.1:${this.#port}`;
  }

  async start(): Promise<void> {
    const server = createServer((socket) => {
      const far = connect(Number(this.#to.port), this.#to.hostname);
      for (const [one, other] of [
        [socket, far],
        [far, socket],
      ] as const) {
        this.#sockets.add(one);
        one.on("error", () => {});
        one.once("close", () => {
          this.#sockets.delete(one);
          other.destroy();
        });
      }
      socket.pipe(far).pipe(socket);
    });
    server.listen(this.#port, "127.0.0.1");
    await once(server, "listening");
    this.#port = (server.address() as { port: number }).port;
    this.#server = server;
  }

  async close(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    this.#server = undefined;
    const closed = once(server, "close");
    server.close();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }
}
