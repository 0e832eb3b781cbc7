// A pod's namespace with the resolv.conf that a kubelet writes, and its node's with the resolver:
//
//   pod 10.244.1.11 ── veth ── 10.244.1.1 node: resolver on 10.96.0.10:53 (a local route on lo)
//       10.99.0.2 (no client)                   dnsmasq on 127.0.0.1:5355 knows example.com
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { createNamespace, type TestNamespace } from "../support/netns.ts";

export const resolverAddress = "10.96.0.10";
export const podAddress = "10.244.1.11";

export interface PodLab extends AsyncDisposable {
  /** Holds lookup-glibc and lookup-musl, which print what getaddrinfo finds. */
  readonly directory: string;
  readonly pod: TestNamespace;
  readonly node: TestNamespace;
  /** A shell's lines, with the pod's resolv.conf. */
  readonly inPod: (command: string) => string[];
  readonly counters: () => Promise<LabCounters>;
}

export interface LabCounters {
  readonly queries: { readonly udp: number };
  readonly forwarded: number;
}

/** `isKnownPod`: the resolver knows the pod by its address. */
export async function startPodLab(options: { readonly isKnownPod: boolean }): Promise<PodLab> {
  await using stack = new AsyncDisposableStack();
  const node = stack.use(createNamespace());
  const pod = stack.use(createNamespace());
  const directory = mkdtempSync(join(tmpdir(), "fairlead-dns-lab-"));
  stack.defer(() => rmSync(directory, { recursive: true }));
  connect(node, pod);
  writeFileSync(
    join(directory, "resolv.conf"),
    `nameserver ${resolverAddress}\nsearch prod.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n`,
  );
  const source = join(import.meta.dirname, "lookup.c");
  execFileSync("musl-gcc", ["-static", "-o", join(directory, "lookup-musl"), source]);
  execFileSync("gcc", ["-o", join(directory, "lookup-glibc"), source]);
  const upstream = inside(node, "dnsmasq", [
    "--keep-in-foreground",
    "--conf-file=/dev/null",
    "--no-resolv",
    "--no-hosts",
    "--port=5355",
    "--listen-address=127.0.0.1",
    "--bind-interfaces",
    "--local=/com/",
    "--host-record=api.example.com,192.0.2.53,2001:db8::53",
    "--host-record=v4only.example.com,192.0.2.54",
  ]);
  stack.defer(() => ended(upstream));
  const serve = join(import.meta.dirname, "serve.ts");
  const known = options.isKnownPod ? [podAddress] : [];
  const server = inside(node, process.execPath, [
    serve,
    resolverAddress,
    "10.244.1.0/24",
    "5355",
    ...known,
  ]);
  stack.defer(() => ended(server));
  const [ready] = (await once(server.stdout!, "data")) as [Buffer];
  if (String(ready) !== "ready\n") throw new Error(`The resolver said ${String(ready)}`);
  const held = stack.move();
  return {
    directory,
    pod,
    node,
    // `ip netns exec` has a mount namespace of its own: what is mounted in it is seen by nobody else.
    inPod: (command) => {
      const script = `mount --bind ${directory}/resolv.conf /etc/resolv.conf && ${command}`;
      return pod.run("sh", "-c", script).trim().split("\n");
    },
    counters: async () => {
      // A thread tells what it has counted a moment after its answers.
      await delay(200);
      server.stdin!.write("\n");
      const [line] = (await once(server.stdout!, "data")) as [Buffer];
      return JSON.parse(String(line)) as LabCounters;
    },
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  };
}

function connect(node: TestNamespace, pod: TestNamespace): void {
  node.run("ip", "link", "add", "pod", "type", "veth", "peer", "name", "eth0", "netns", pod.name);
  node.run("ip", "address", "add", "10.244.1.1/24", "dev", "pod");
  node.run("ip", "address", "add", "10.99.0.1/24", "dev", "pod");
  node.run("ip", "link", "set", "pod", "up");
  node.run("ip", "route", "add", "local", resolverAddress, "dev", "lo", "table", "local");
  pod.run("ip", "address", "add", `${podAddress}/24`, "dev", "eth0");
  pod.run("ip", "address", "add", "10.99.0.2/24", "dev", "eth0");
  pod.run("ip", "link", "set", "eth0", "up");
  pod.run("ip", "route", "add", "default", "via", "10.244.1.1", "src", podAddress);
}

const inside = (namespace: TestNamespace, command: string, args: readonly string[]): ChildProcess =>
  spawn("ip", ["netns", "exec", namespace.name, command, ...args], {
    stdio: ["pipe", "pipe", "inherit"],
  });

async function ended(child: ChildProcess): Promise<void> {
  child.kill();
  if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
}

/** What real resolvers find for a name, by what they are called. */
export const lookupsIn = ({
  directory,
  inPod,
}: PodLab): Readonly<Record<string, (name: string) => string[]>> => ({
  "glibc's getaddrinfo": (name) => inPod(`${directory}/lookup-glibc ${name}`),
  "musl's getaddrinfo": (name) => inPod(`${directory}/lookup-musl ${name}`),
  "Node's dns.lookup": (name) => {
    const source = `require("dns").lookup("${name}", {all:true, order: "ipv4first"}, (e, list) =>
      (list ?? []).forEach(({address}) => console.log(address)))`;
    return inPod(`${process.execPath} -e '${source}'`);
  },
});

/** The keys of {@link lookupsIn}. */
export const lookupNames = ["glibc's getaddrinfo", "musl's getaddrinfo", "Node's dns.lookup"];
