// Three nodes with pods of both families, two of them on one link and the third behind a router; which
// families the links have is the test's. The manifests are one file, so that they change together.
//
//   node-1 ─┐
//           ├─ br0 .1.1 [router] .2.1 ── node-3
//   node-2 ─┘
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { vi } from "vitest";
import type { Ip } from "../../core/address.ts";
import { silentLog } from "../../core/log.ts";
import { RepairLedger } from "../../core/repair-ledger.ts";
import { parseConfig } from "../../daemon/config/config.ts";
import { planSettings } from "../../daemon/daemon.ts";
import { Reconciler } from "../../daemon/reconcile/reconcile.ts";
import { openFileSource } from "../../daemon/source/file-source.ts";
import { systemClock } from "../../kernel/clock.ts";
import { openKernel } from "../../kernel/linux.ts";
import { ip } from "../support/builders.ts";
import { createNamespace, type TestNamespace } from "../support/netns.ts";

export type Families = readonly (4 | 6)[];

/** A Node object, as far as the test has it changed. */
export interface NodeManifest {
  readonly name: string;
  readonly addresses: readonly string[];
  readonly podCidrs: readonly string[];
}

const config = (backend: string): string => `
network:
  podCIDRs: [10.244.0.0/16, "fd00:10:244::/48"]
  serviceCIDRs: []
  backend: ${backend}
`;
const waiting = { timeout: 20_000, interval: 20 };

/** Of the segment: 1 is the nodes' that share a link. */
export const underlayAddress = (family: 4 | 6, segment: number, host: number): string =>
  family === 4 ? `172.30.${segment}.${host}` : `2001:db8:${segment}::${host}`;

const prefixLength = { 4: 24, 6: 64 } as const;
export const podCidrs = (block: number): readonly string[] => [
  `10.244.${block}.0/24`,
  `fd00:10:244:${block}::/64`,
];
const podAddresses = (block: number, host: number): readonly string[] => [
  `10.244.${block}.${host}`,
  `fd00:10:244:${block}::${host}`,
];

interface Pod {
  readonly namespace: TestNamespace;
  readonly addresses: readonly string[];
  readonly node: number;
}

export class RoutedNodes implements Disposable {
  readonly nodes: readonly TestNamespace[];
  readonly router: TestNamespace;
  readonly families: Families;
  readonly #backend: string;
  readonly #stack = new DisposableStack();
  readonly #directory: string;
  readonly #reconcilers = new Map<number, { readonly it: Reconciler; readonly all: Disposable }>();
  #pods: Pod[] = [];
  #hosts = 1;

  constructor(families: Families, backend: string) {
    this.families = families;
    this.#backend = backend;
    const make = (): TestNamespace => this.#stack.use(createNamespace());
    this.router = make();
    this.nodes = [make(), make(), make()];
    this.#directory = mkdtempSync(join(tmpdir(), "fairlead-routed-"));
    this.#stack.defer(() => rmSync(this.#directory, { recursive: true }));
    this.#wire();
  }

  #wire(): void {
    const { router } = this;
    router.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1");
    router.run("ip", "link", "add", "br0", "type", "bridge");
    router.run("ip", "link", "set", "br0", "up");
    this.nodes.forEach((node, i) => {
      const port = `to-${i + 1}`;
      const pair = ["type", "veth", "peer", "name", "eth0", "netns", node.name];
      router.run("ip", "link", "add", port, ...pair);
      router.run("ip", "link", "set", port, "up");
      node.run("ip", "link", "set", "eth0", "up");
      if (i < 2) router.run("ip", "link", "set", port, "master", "br0");
    });
    for (const family of this.families) {
      for (const [segment, port] of [
        [1, "br0"],
        [2, "to-3"],
      ] as const) {
        this.addressOf(router, port, family, underlayAddress(family, segment, 1));
      }
    }
    this.nodes.forEach((_, i) => this.place(i + 1, i === 2 ? 2 : 1, 11 + i));
  }

  addressOf(where: TestNamespace, device: string, family: 4 | 6, address: string): void {
    const noDad = family === 6 ? ["nodad"] : [];
    const words = [`${address}/${prefixLength[family]}`, "dev", device, ...noDad];
    where.run("ip", "address", "add", ...words);
  }

  /** Gives the node these addresses, and no others, and a default route. */
  place(n: number, segment: number, host: number): void {
    const node = this.nodes[n - 1]!;
    node.run("sh", "-c", "ip address flush dev eth0 scope global");
    for (const family of this.families) {
      this.addressOf(node, "eth0", family, underlayAddress(family, segment, host));
      const via = underlayAddress(family, segment, 1);
      node.run("ip", `-${family}`, "route", "replace", "default", "via", via, "dev", "eth0");
    }
    // Who had the address before is asked for anew at once, not in half a minute.
    for (const one of [this.router, ...this.nodes]) {
      one.run(
        "sh",
        "-c",
        "for d in $(ls /sys/class/net | grep -e eth0 -e br0 -e ^to-); do ip neighbor flush dev $d; done",
      );
    }
  }

  /** What the node is at the start. */
  manifest(n: number, more: Partial<NodeManifest> = {}): NodeManifest {
    const segment = n === 3 ? 2 : 1;
    const addresses = this.families.map((family) => underlayAddress(family, segment, 10 + n));
    return { name: `node-${n}`, addresses, podCidrs: podCidrs(n), ...more };
  }

  write(...manifests: readonly NodeManifest[]): void {
    const objects = manifests.map(({ name, addresses, podCidrs: blocks }) => ({
      apiVersion: "v1",
      kind: "Node",
      metadata: { name },
      spec: { podCIDRs: blocks },
      status: { addresses: addresses.map((address) => ({ type: "InternalIP", address })) },
    }));
    const text = objects.map((object) => `---\n${JSON.stringify(object)}\n`).join("");
    writeFileSync(join(this.#directory, ".next"), text);
    renameSync(join(this.#directory, ".next"), join(this.#directory, "nodes.yaml"));
  }

  /** Starts the node's daemon; one that runs is stopped. */
  start(n: number, nodeName = `node-${n}`): void {
    this.#reconcilers.get(n)?.all[Symbol.dispose]();
    const stack = new DisposableStack();
    this.#stack.use(stack);
    const it = stack.use(
      new Reconciler({
        ledger: new RepairLedger(),
        kernel: stack.use(openKernel({ namespace: this.nodes[n - 1]!.path })),
        source: stack.use(openFileSource({ directory: this.#directory, log: silentLog })),
        settings: planSettings(parseConfig(config(this.#backend), "test", { nodeName })),
        removalGraceMs: 0,
        missingNodeHint: () => "missing",
        hostPorts: () => [],
        podAddresses: () => this.#podsOf(n),
        rememberSysctl: () => {},
        onPass: () => {},
        clock: systemClock,
        log: silentLog,
      }),
    );
    this.#reconcilers.set(n, { it, all: stack });
  }

  #podsOf(n: number): readonly Ip[] {
    return this.#pods
      .filter(({ node }) => node === n)
      .flatMap(({ addresses }) => addresses.map(ip));
  }

  /** A pod of both families, wired as attach does it. */
  addPod(n: number, block = n): void {
    const namespace = this.#stack.use(createNamespace());
    const node = this.nodes[n - 1]!;
    const host = ++this.#hosts;
    const device = `fl${host.toString(16).padStart(12, "0")}`;
    const addresses = podAddresses(block, host);
    const pair = ["type", "veth", "peer", "name", "eth0", "netns", namespace.name];
    node.run("ip", "link", "add", device, ...pair);
    node.run("ip", "link", "set", device, "up");
    node.run("ip", "address", "add", "169.254.1.1/32", "dev", device);
    node.run("ip", "address", "add", "fe80::1/128", "dev", device, "nodad");
    namespace.run("ip", "link", "set", "eth0", "up");
    for (const address of addresses) {
      const isIpv6 = address.includes(":");
      const noDad = isIpv6 ? ["nodad"] : [];
      namespace.run("ip", "address", "add", address, "dev", "eth0", ...noDad);
      node.run("ip", "route", "add", address, "dev", device, "proto", "76");
      const via = isIpv6 ? "fe80::1" : "169.254.1.1";
      namespace.run("ip", "route", "add", "default", "via", via, "dev", "eth0", "onlink");
    }
    this.#pods.push({ namespace, addresses, node: n });
  }

  removePods(n: number): void {
    for (const pod of this.#pods.filter(({ node }) => node === n)) pod.namespace[Symbol.dispose]();
    this.#pods = this.#pods.filter(({ node }) => node !== n);
  }

  /** How the node reaches the others, by name. */
  paths(n: number): Readonly<Record<string, string>> {
    const peers = this.#reconcilers.get(n)?.it.state()?.plan.peers.values() ?? [];
    return Object.fromEntries(Array.from(peers, ({ node: { name }, path }) => [name, path]));
  }

  problems(n: number): readonly string[] {
    return (
      this.#reconcilers
        .get(n)
        ?.it.state()
        ?.problems.map(({ message }) => message) ?? ["none"]
    );
  }

  /** Waits until every pod reaches every other by both families, and no node has a problem. */
  async allReach(families: Families = [4, 6]): Promise<void> {
    await vi.waitFor(() => {
      const found = Array.from(this.#reconcilers.keys(), (n) => this.problems(n)).flat();
      if (found.length > 0) throw new Error(found.join("; "));
    }, waiting);
    for (const from of this.#pods) {
      for (const to of this.#pods.filter((pod) => pod !== from)) {
        for (const address of to.addresses) {
          if (!families.includes(address.includes(":") ? 6 : 4)) continue;
          await vi.waitFor(
            () => from.namespace.run("ping", "-c", "1", "-W", "1", address),
            waiting,
          );
        }
      }
    }
  }

  [Symbol.dispose](): void {
    this.#stack.dispose();
  }
}
