// The Kubernetes source's place: a small API server, or a real one where FAIRLEAD_TEST_KUBECONFIG names it.
import { type Log, silentLog } from "../../core/log.ts";
import type { ApiAccess } from "../../daemon/kubernetes/access.ts";
import { ApiClient } from "../../daemon/kubernetes/api-client.ts";
import {
  type KubernetesSourceTiming,
  openKubernetesSource,
} from "../../daemon/kubernetes/kubernetes-source.ts";
import type { Source } from "../../daemon/source/source.ts";
import { systemClock } from "../../kernel/clock.ts";
import { systemRandom } from "../../kernel/random.ts";
import { type Resource, resources } from "./api-server/resource.ts";
import { ApiServer } from "./api-server/server.ts";
import type { KubernetesObject, SourceWorld } from "./source-world.ts";

export const quickTiming: KubernetesSourceTiming = {
  watch: { firstMs: 5, mostMs: 100, watchMs: 60_000, idleMs: 10_000 },
  copy: { firstMs: 10, afterMs: 10, pauseFactor: 1 },
  pauseMs: 5,
  pauseFactor: 1,
  partialMs: 500,
  copyAfterMs: 50,
};

export function resourceOf({ apiVersion, kind }: KubernetesObject): Resource | undefined {
  const group = apiVersion.includes("/") ? apiVersion.split("/")[0] : "";
  return resources.find((resource) => resource.kind === kind && resource.group === group);
}

export interface OpenOptions {
  readonly copyPath?: string;
  readonly allPods?: boolean;
  readonly timing?: KubernetesSourceTiming;
  /** Beside the server's address. */
  readonly access?: Partial<ApiAccess>;
  readonly reload?: () => ApiAccess;
  readonly log?: Log;
}

/** A source that reads this server. */
export function openSourceOf(server: ApiServer, options: OpenOptions = {}): Source {
  const { access, reload, ...rest } = options;
  const whole = { where: "the test", server: server.url, isInsecure: false, ...access };
  const client = new ApiClient(whole, systemClock, {
    timing: { answerMs: 1000, idleMs: 1000 },
    ...(reload && { reload }),
  });
  const source = openKubernetesSource({
    client,
    nodeName: "node-a",
    allPods: false,
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
    timing: quickTiming,
    ...rest,
  });
  return {
    kind: source.kind,
    location: source.location,
    state: () => source.state(),
    subscribe: (listener) => source.subscribe(listener),
    [Symbol.dispose]: () => {
      source[Symbol.dispose]();
      client[Symbol.dispose]();
    },
  };
}

export async function apiWorld(): Promise<SourceWorld> {
  const server = await ApiServer.start();
  return {
    open: () => openSourceOf(server),
    put: async (...objects) => {
      for (const object of objects) {
        const resource = resourceOf(object);
        if (resource !== undefined) server.store.force(resource, object);
      }
    },
    remove: async (...objects) => {
      for (const object of objects) {
        const resource = resourceOf(object);
        const { namespace, name } = object.metadata;
        if (resource !== undefined) server.store.remove(resource, { namespace, name });
      }
    },
    goAway: () => server.stop(),
    comeBack: () => server.start(),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}
