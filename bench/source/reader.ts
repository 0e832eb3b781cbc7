// Reads a cluster and tells how it went: node reader.ts kubernetes|etcd ours|whole URL. Lines of JSON on standard output; a
// line on standard input asks how much processor time there has been.
import { readFileSync } from "node:fs";
import { request } from "node:http";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { createInterface } from "node:readline";
import { setTimeout as wait } from "node:timers/promises";
import { silentLog } from "../../core/log.ts";
import { EtcdClient } from "../../daemon/etcd/client.ts";
import { openEtcdSource } from "../../daemon/etcd/etcd-source.ts";
import { ApiClient } from "../../daemon/kubernetes/api-client.ts";
import { openKubernetesSource } from "../../daemon/kubernetes/kubernetes-source.ts";
import type { Source } from "../../daemon/source/source.ts";
import { systemClock } from "../../kernel/clock.ts";
import { systemRandom } from "../../kernel/random.ts";

export interface InSync {
  readonly elapsed: number;
  readonly cpu: number;
  readonly peak: number;
  readonly steady: number;
  /** What is kept: the heap after a collection, less than before. */
  readonly heap: number;
  readonly longestBlock: number;
}

const [kind = "kubernetes", how = "ours", url = ""] = process.argv.slice(2);
const say = (value: object): void => void process.stdout.write(`${JSON.stringify(value)}\n`);
const cpu = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};
const memory = (field: string): number =>
  Number(
    new RegExp(`^${field}:\\s+(\\d+)`, "m").exec(readFileSync("/proc/self/status", "utf8"))?.[1],
  ) / 1024;

const delay = monitorEventLoopDelay({ resolution: 5 });
globalThis.gc?.();
const heapBefore = process.memoryUsage().heapUsed;
const [startedAt, cpuBefore] = [performance.now(), cpu()];
delay.enable();
if (how === "ours") await readOurs(kind === "etcd" ? openEtcd() : openKubernetes());
else if (kind === "etcd") await readEtcdWhole();
else await readWhole();
const [elapsed, used] = [performance.now() - startedAt, cpu() - cpuBefore];
delay.disable();
await wait(1000);
globalThis.gc?.();
await wait(500);
say({
  elapsed,
  cpu: used,
  peak: memory("VmHWM"),
  steady: memory("VmRSS"),
  heap: (process.memoryUsage().heapUsed - heapBefore) / 2 ** 20,
  longestBlock: delay.max / 1e6,
});
createInterface({ input: process.stdin })
  .on("line", () => say({ cpu: cpu() }))
  .once("close", () => process.exit(0));

function openKubernetes(): Source {
  const client = new ApiClient({ where: "bench", server: url, isInsecure: false }, systemClock);
  return openKubernetesSource({
    client,
    nodeName: "node-0",
    allPods: false,
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
  });
}

function openEtcd(): Source {
  return openEtcdSource({
    client: new EtcdClient({ endpoints: [url] }),
    prefix: "/fairlead",
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
  });
}

async function readOurs(source: Source): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  source.subscribe(({ snapshot }) => {
    if (snapshot.isInSync) resolve();
    const { ports } = snapshot.services.get("ns-0/service-0") ?? { ports: [] };
    if (ports[0] !== undefined && ports[0].port !== 80) {
      say({ port: ports[0].port, at: performance.timeOrigin + performance.now() });
    }
  });
  await promise;
}

/** The reference: each list read whole, parsed, and kept as it is, as a plain client does it. */
async function readWhole(): Promise<void> {
  const kept = new Map<string, unknown>();
  const paths = [
    "/api/v1/nodes",
    "/api/v1/namespaces",
    "/api/v1/services",
    "/apis/discovery.k8s.io/v1/endpointslices",
    "/api/v1/pods?fieldSelector=spec.nodeName%3Dnode-0",
  ];
  await Promise.all(
    paths.map(async (path) => {
      const text = await bodyOf(`${url}${path}`);
      const { items } = JSON.parse(text) as {
        items: { metadata: { namespace?: string; name: string } }[];
      };
      for (const item of items) {
        kept.set(`${path} ${item.metadata.namespace ?? ""}/${item.metadata.name}`, item);
      }
    }),
  );
  Object.assign(globalThis, { kept });
}

/** Every key read, its value parsed and kept as it is. */
async function readEtcdWhole(): Promise<void> {
  const kept = new Map<string, unknown>();
  const client = new EtcdClient({ endpoints: [url] });
  for await (const page of client.pages("/fairlead/objects/", AbortSignal.timeout(60_000))) {
    for (const { key, value } of page.entries) kept.set(key, JSON.parse(value));
  }
  Object.assign(globalThis, { kept });
}

function bodyOf(path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    request(path, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.once("end", () => resolve(Buffer.concat(chunks).toString("utf8")));
      response.once("error", reject);
    })
      .once("error", reject)
      .end();
  });
}
