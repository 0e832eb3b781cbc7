// The demo's topology in network namespaces, with the daemon's reconcile loop for each node and pods
// made by hand:
//
//   node-a 172.30.1.11 ─┐
//                       ├─ br0 172.30.1.1 [router] 172.30.2.1 ── 172.30.2.13 node-c
//   node-b 172.30.1.12 ─┘                 198.51.100.1 ── 198.51.100.9 outside
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { vi } from "vitest";
import type { Ip } from "../../core/address.ts";
import { silentLog } from "../../core/log.ts";
import { RepairLedger } from "../../core/repair-ledger.ts";
import { parseConfig } from "../../daemon/config/config.ts";
import { planSettings } from "../../daemon/daemon.ts";
import type { NodeState } from "../../daemon/reconcile/node-state.ts";
import { Reconciler } from "../../daemon/reconcile/reconcile.ts";
import type { ReconcileTiming } from "../../daemon/reconcile/timing.ts";
import { openFileSource } from "../../daemon/source/file-source.ts";
import type { Source } from "../../daemon/source/source.ts";
import { systemClock } from "../../kernel/clock.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { openKernel } from "../../kernel/linux.ts";
import { ip } from "../support/builders.ts";
import { createNamespace, type TestNamespace } from "../support/netns.ts";
import { type AttachedNode, openAttachedNode } from "./attached-node.ts";

export const nodeNames = ["node-a", "node-b", "node-c"] as const;
export type NodeName = (typeof nodeNames)[number];

const underlay = {
  "node-a": { address: "172.30.1.11/24", gateway: "172.30.1.1" },
  "node-b": { address: "172.30.1.12/24", gateway: "172.30.1.1" },
  "node-c": { address: "172.30.2.13/24", gateway: "172.30.2.1" },
} as const;

export const outsideAddress = "198.51.100.9";

export class ThreeNodes implements AsyncDisposable {
  readonly nodes: Readonly<Record<NodeName, TestNamespace>>;
  readonly outside: TestNamespace;
  readonly router: TestNamespace;
  /** Each node's own cluster.d, with the demo's manifests. */
  readonly directory: string;
  readonly #stack = new AsyncDisposableStack();
  readonly #pods: Record<NodeName, Ip[]> = { "node-a": [], "node-b": [], "node-c": [] };

  constructor() {
    const make = (): TestNamespace => this.#stack.use(createNamespace());
    this.nodes = { "node-a": make(), "node-b": make(), "node-c": make() };
    [this.router, this.outside] = [make(), make()];
    this.directory = mkdtempSync(join(tmpdir(), "fairlead-daemon-"));
    this.#stack.defer(() => rmSync(this.directory, { recursive: true }));
    this.#wire();
    for (const name of nodeNames) {
      cpSync(join(import.meta.dirname, "../../conf/demo"), this.clusterOf(name), {
        recursive: true,
      });
    }
  }

  clusterOf(name: NodeName): string {
    return join(this.directory, name);
  }

  #wire(): void {
    const { router, outside } = this;
    router.run("sysctl", "-qw", "net.ipv4.ip_forward=1");
    router.run("ip", "link", "add", "br0", "type", "bridge");
    router.run("ip", "link", "set", "br0", "up");
    router.run("ip", "address", "add", "172.30.1.1/24", "dev", "br0");
    for (const name of nodeNames) {
      const { address, gateway } = underlay[name];
      const port = `to-${name}`;
      link(router, port, this.nodes[name], "eth0");
      if (name === "node-c") router.run("ip", "address", "add", "172.30.2.1/24", "dev", port);
      else router.run("ip", "link", "set", port, "master", "br0");
      const node = this.nodes[name];
      node.run("ip", "address", "add", address, "dev", "eth0");
      node.run("ip", "route", "add", "default", "via", gateway);
      // As a hardened node has it: replies must come back the way the kernel would send.
      node.run("sysctl", "-qw", "net.ipv4.conf.eth0.rp_filter=1");
    }
    link(router, "to-outside", outside, "eth0");
    router.run("ip", "address", "add", "198.51.100.1/24", "dev", "to-outside");
    outside.run("ip", "address", "add", `${outsideAddress}/24`, "dev", "eth0");
    outside.run("ip", "route", "add", "default", "via", "198.51.100.1");
  }

  /** A pod with this address, wired as attach does it. */
  addPod(name: NodeName, address: string): TestNamespace {
    const pod = this.#stack.use(createNamespace());
    const node = this.nodes[name];
    this.#pods[name].push(ip(address));
    const [, , third, fourth] = address.split(".").map(Number);
    const last = (third! * 256 + fourth!).toString(16).padStart(12, "0");
    const host = `fl${last}`;
    link(node, host, pod, "eth0");
    node.run("ip", "route", "add", `${address}/32`, "dev", host, "proto", "76", "scope", "link");
    node.run("ip", "address", "add", "169.254.1.1/32", "dev", host);
    pod.run("ip", "address", "add", `${address}/32`, "dev", "eth0");
    pod.run("ip", "route", "add", "default", "via", "169.254.1.1", "dev", "eth0", "onlink");
    return pod;
  }

  /** A namespace that no node knows of yet. */
  addNamespace(): TestNamespace {
    return this.#stack.use(createNamespace());
  }

  /** For `addPod`'s pod that has ended. */
  removePod(name: NodeName, address: string): void {
    this.#pods[name].splice(this.#pods[name].indexOf(ip(address)), 1);
  }

  /** Starts the daemon's reconcile loop for a node. */
  start(name: NodeName, options: StartOptions = {}): RunningNode {
    const config = parseConfig(options.config ?? "", "test", { nodeName: name });
    const stack = new DisposableStack();
    const kernel = stack.use(
      openKernel({
        namespace: this.nodes[name].path,
        ...(options.watchOctets !== undefined && { watchOctets: options.watchOctets }),
      }),
    );
    const source = stack.use(openFileSource({ directory: this.clusterOf(name), log: silentLog }));
    const ledger = new RepairLedger();
    const directory = join(this.directory, `${name}-state`);
    const attached =
      options.isAttached === true
        ? stack.use(openAttachedNode({ directory, kernel, ledger, config }))
        : undefined;
    const reconciler = stack.use(
      new Reconciler({
        ledger,
        kernel,
        source,
        settings: planSettings(config),
        removalGraceMs: config.cluster.removalGraceSeconds * 1000,
        missingNodeHint: () => `no ${name}`,
        hostPorts: () => [],
        podAddresses: () => this.#pods[name],
        rememberSysctl: () => {},
        onPass: () => {},
        ...attached?.parts,
        clock: systemClock,
        log: silentLog,
        ...(options.timing !== undefined && { timing: options.timing }),
      }),
    );
    this.#stack.use(stack);
    return {
      kernel,
      source,
      reconciler,
      ledger,
      attached,
      node: this.nodes[name],
      programmed: async () => {
        return await vi.waitFor(() => {
          const state = reconciler.state();
          if (state?.isProgrammed === true) return state;
          throw new Error(`${name} is not programmed: ${JSON.stringify(state?.problems)}`);
        }, waiting);
      },
      [Symbol.dispose]: () => stack.dispose(),
    };
  }

  async startAll(options: StartOptions = {}): Promise<Record<NodeName, RunningNode>> {
    const running = {
      "node-a": this.start("node-a", options),
      "node-b": this.start("node-b", options),
      "node-c": this.start("node-c", options),
    };
    for (const node of Object.values(running)) await node.programmed();
    return running;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

export interface StartOptions {
  /** YAML of the configuration. */
  readonly config?: string;
  readonly timing?: ReconcileTiming;
  /** With attachments, in place of `addPod`, and the files that tell of the node. */
  readonly isAttached?: boolean;
  /** Of the kernel's notifications that wait. */
  readonly watchOctets?: number;
}

export interface RunningNode extends Disposable {
  readonly kernel: Kernel;
  readonly source: Source;
  readonly reconciler: Reconciler;
  readonly ledger: RepairLedger;
  /** Undefined unless it was asked for. */
  readonly attached: AttachedNode | undefined;
  readonly node: TestNamespace;
  /** Waits until the plan is in the kernel. */
  readonly programmed: () => Promise<NodeState>;
}

export const waiting = { timeout: 5000, interval: 5 };

export const ping = (from: TestNamespace, to: string): string =>
  from.run("ping", "-c", "1", "-W", "2", to);

function link(a: TestNamespace, aName: string, b: TestNamespace, bName: string): void {
  a.run("ip", "link", "add", aName, "type", "veth", "peer", "name", bName, "netns", b.name);
  a.run("ip", "link", "set", aName, "up");
  b.run("ip", "link", "set", bName, "up");
}
