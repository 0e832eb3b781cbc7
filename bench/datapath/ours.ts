// Two of our nodes as they are in use: the daemon's reconcile loop makes device, routes, settings and the
// whole table, and what attach plans makes the pods.
import { setTimeout } from "node:timers/promises";
import { planAdd } from "../../attach/plan.ts";
import type { Node } from "../../core/cluster/model.ts";
import { silentLog } from "../../core/log.ts";
import { RepairLedger } from "../../core/repair-ledger.ts";
import { parseConfig } from "../../daemon/config/config.ts";
import { planSettings } from "../../daemon/daemon.ts";
import { Reconciler } from "../../daemon/reconcile/reconcile.ts";
import { systemClock } from "../../kernel/clock.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { openKernel } from "../../kernel/linux.ts";
import { aNode, aSnapshot, ip } from "../../test/support/builders.ts";
import { createNamespace, type TestNamespace } from "../../test/support/netns.ts";
import { createFakeSource } from "../../test/support/source.ts";
import { cutFrames, type Underlay, underlayAddress } from "./underlay.ts";

interface Ends {
  readonly client: TestNamespace;
  readonly server: TestNamespace;
  readonly address: string;
}

interface FairleadNodes {
  readonly sameNode: Ends;
  readonly crossNode: Ends;
  /** UDP flows of the tunnel that the first node's connection tracking has. */
  readonly trackedTunnels: () => number;
}

interface Options {
  readonly numbers: readonly [number, number];
  readonly backend: "vxlan" | "direct";
  /** See {@link cutFrames}. */
  readonly isCut?: boolean;
}

/** VXLAN's, as the configuration has it by default. */
const tunnelPort = 4789;

const deadlineMs = 10_000;

export async function fairleadNodes(
  stack: AsyncDisposableStack,
  underlay: Underlay,
  { numbers, backend, isCut = false }: Options,
): Promise<FairleadNodes> {
  const [one, other] = numbers;
  const cluster = numbers.map((number) =>
    aNode(`node-${number}`, underlayAddress(number), `10.244.${number}.0/24`),
  );
  const kernels = [];
  for (const [index, node] of cluster.entries()) {
    const namespace = underlay.addNode(numbers[index] ?? 0);
    const kernel = stack.use(openKernel({ namespace: namespace.path }));
    kernels.push(kernel);
    if (isCut) cutFrames(namespace);
    await bringUp(kernel, { node, cluster, backend });
  }
  const [here, there] = kernels;
  if (here === undefined || there === undefined) throw new Error("expected two nodes");
  const mtu = backend === "vxlan" ? 1450 : 1500;
  const addPod = (kernel: Kernel, number: number, host: number): TestNamespace =>
    makePod(stack, kernel, { address: `10.244.${number}.${host}`, number, mtu });
  const client = addPod(here, one, 2);
  return {
    trackedTunnels: () => here.udpFlows(tunnelPort).length,
    sameNode: { client, server: addPod(here, one, 3), address: `10.244.${one}.3` },
    crossNode: { client, server: addPod(there, other, 2), address: `10.244.${other}.2` },
  };
}

async function bringUp(
  kernel: Kernel,
  {
    node,
    cluster,
    backend,
  }: { readonly node: Node; readonly cluster: readonly Node[]; readonly backend: string },
): Promise<void> {
  const source = createFakeSource();
  const configuration = `network: { podCIDRs: [10.244.0.0/16], backend: ${backend} }`;
  // What it made stays.
  using reconciler = new Reconciler({
    kernel,
    source,
    settings: planSettings(parseConfig(configuration, "bench", { nodeName: node.name })),
    removalGraceMs: 0,
    ledger: new RepairLedger(),
    missingNodeHint: () => "none",
    hostPorts: () => [],
    podAddresses: () => [],
    rememberSysctl: () => {},
    onPass: () => {},
    clock: systemClock,
    log: silentLog,
  });
  source.set(aSnapshot({ nodes: cluster }));
  const giveUpAt = performance.now() + deadlineMs;
  while (reconciler.state()?.isProgrammed !== true) {
    if (performance.now() > giveUpAt) {
      throw new Error(`${node.name} is not programmed: ${JSON.stringify(reconciler.state())}`);
    }
    await setTimeout(5);
  }
}

function makePod(
  stack: AsyncDisposableStack,
  kernel: Kernel,
  {
    address,
    number,
    mtu,
  }: { readonly address: string; readonly number: number; readonly mtu: number },
): TestNamespace {
  const pod = stack.use(createNamespace());
  using sandbox = kernel.openSandbox(pod.path);
  const last = Number(address.split(".").at(-1));
  const plan = planAdd(
    { network: "fairlead", containerId: `pod-${address}`, ifName: "eth0" },
    {
      addresses: [ip(address)],
      routes: [],
      nodeAddresses: [ip(underlayAddress(number))],
      mtu,
      hostIndex: 1000 + last,
      podIndex: 2000 + last,
    },
    sandbox.fd,
  );
  kernel.apply(plan.host);
  sandbox.apply(plan.sandbox);
  return pod;
}
