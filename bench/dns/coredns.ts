// CoreDNS as kubeadm configures it, where the machine has one: it reads the services from a small API server.
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fullName, type NamedService } from "./cluster.ts";
import type { Setting } from "./contenders.ts";

const program = "coredns";
const apiPort = 6443;
const root = join(import.meta.dirname, "../..");

/** Whether there is one in PATH: Debian has no package of it. */
export const hasCoreDns = (): boolean =>
  spawnSync(program, ["-version"], { stdio: "ignore" }).error === undefined;

/** A server of the API with the setting's services, for CoreDNS to read. */
export async function startApi({
  directory,
  namespace,
  services,
}: Setting): Promise<AsyncDisposable> {
  const manifests = join(directory, `manifests-${services.length}`);
  mkdirSync(manifests);
  const objects = objectsOf(services).map((object) => JSON.stringify(object));
  writeFileSync(join(manifests, "services.yaml"), objects.join("\n---\n"));
  const script = join(root, "test/support/api-server/serve.ts");
  const control = join(directory, `api-${services.length}`);
  const words = [process.execPath, script, "127.0.0.1", String(apiPort), control, manifests];
  const child = spawn("ip", ["netns", "exec", namespace.name, ...words], { stdio: "inherit" });
  return {
    [Symbol.asyncDispose]: async () => {
      const ended = once(child, "exit");
      child.kill("SIGKILL");
      await ended;
    },
  };
}

function objectsOf(services: readonly NamedService[]): object[] {
  const namespaces = [...new Set(services.map(({ namespace }) => namespace))];
  return [
    ...namespaces.map((name) => ({ apiVersion: "v1", kind: "Namespace", metadata: { name } })),
    ...services.map(({ name, namespace, address }) => ({
      apiVersion: "v1",
      kind: "Service",
      metadata: { name, namespace },
      spec: {
        type: "ClusterIP",
        clusterIP: address,
        clusterIPs: [address],
        ports: [{ name: "http", protocol: "TCP", port: 80 }],
      },
    })),
  ];
}

/** kubeadm's, without what is of no query: health, ready, loop, reload. */
export const corefile = (port: number, { upstreamPort }: Setting): string => `.:${port} {
  bind 127.0.0.1
  errors
  kubernetes cluster.local in-addr.arpa ip6.arpa {
    endpoint http://127.0.0.1:${apiPort}
    pods insecure
    fallthrough in-addr.arpa ip6.arpa
    ttl 30
  }
  prometheus 127.0.0.1:9153
  forward . 127.0.0.1:${upstreamPort} {
    max_concurrent 1000
  }
  cache 30
  loadbalance
}
`;

/** It serves before it has read the services. */
export async function hasRead(port: number, { namespace, services }: Setting): Promise<void> {
  const untilMs = performance.now() + 60_000;
  const names = [services[0], services.at(-1)].flatMap((one) => (one ? [fullName(one)] : []));
  const options = ["+short", "+tries=1", "+time=1", "-p", String(port), "@127.0.0.1"];
  while (performance.now() < untilMs) {
    const said = names.map((name) => namespace.run("dig", ...options, name).trim());
    if (said.every((answer) => /^[\d.]+$/.test(answer))) return;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  throw new Error("CoreDNS does not know the services");
}
