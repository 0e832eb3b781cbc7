// Both families of pods, over an underlay of either: two nodes on one link, told to use VXLAN.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { silentLog } from "../../core/log.ts";
import { RepairLedger } from "../../core/repair-ledger.ts";
import { parseConfig } from "../../daemon/config/config.ts";
import { planSettings } from "../../daemon/daemon.ts";
import { Reconciler } from "../../daemon/reconcile/reconcile.ts";
import { openFileSource } from "../../daemon/source/file-source.ts";
import { systemClock } from "../../kernel/clock.ts";
import { openKernel } from "../../kernel/linux.ts";
import { createNamespace, type TestNamespace } from "../support/netns.ts";
import { ping, waiting } from "./three-nodes.ts";

const config = `
network:
  podCIDRs: [10.244.0.0/16, "fd00:10:244::/48"]
  serviceCIDRs: []
  backend: vxlan
dns: { addresses: [10.96.0.10, "fd00:10:96::a"] }
`;

interface Underlay {
  readonly addresses: readonly [string, string];
  readonly prefixLength: number;
  readonly mtu: number;
}

function startNodes({ addresses, prefixLength }: Underlay) {
  const stack = new DisposableStack();
  onTestFinished(() => stack.dispose());
  const directory = mkdtempSync(join(tmpdir(), "fairlead-families-"));
  stack.defer(() => rmSync(directory, { recursive: true }));
  addresses.forEach((address, i) => {
    const node = {
      apiVersion: "v1",
      kind: "Node",
      metadata: { name: `node-${i + 1}` },
      spec: { podCIDRs: [`10.244.${i + 1}.0/24`, `fd00:10:244:${i + 1}::/64`] },
      status: { addresses: [{ type: "InternalIP", address }] },
    };
    writeFileSync(join(directory, `${i}.json`), JSON.stringify(node));
  });
  const [a, b] = [stack.use(createNamespace()), stack.use(createNamespace())];
  a.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", b.name);
  return [a, b].map((node, i) => {
    node.run("ip", "link", "set", "eth0", "up");
    node.run(
      "ip",
      "address",
      "add",
      `${addresses[i]}/${prefixLength}`,
      "dev",
      "eth0",
      ...noDad(addresses[i]!),
    );
    const kernel = stack.use(openKernel({ namespace: node.path }));
    const reconciler = stack.use(
      new Reconciler({
        ledger: new RepairLedger(),
        kernel,
        source: stack.use(openFileSource({ directory, log: silentLog })),
        settings: planSettings(parseConfig(config, "test", { nodeName: `node-${i + 1}` })),
        removalGraceMs: 0,
        missingNodeHint: () => "missing",
        hostPorts: () => [],
        podAddresses: () => [],
        rememberSysctl: () => {},
        onPass: () => {},
        clock: systemClock,
        log: silentLog,
      }),
    );
    // Stands for a pod: an address of the node's pod CIDR on a device that pods' routes lead to.
    addPod(stack, node, `10.244.${i + 1}.2`, `fd00:10:244:${i + 1}::2`);
    return { node, reconciler };
  });
}

const noDad = (address: string): string[] => (address.includes(":") ? ["nodad"] : []);

function addPod(
  stack: DisposableStack,
  node: TestNamespace,
  ...addresses: readonly string[]
): void {
  const pod = stack.use(createNamespace());
  node.run(
    "ip",
    "link",
    "add",
    "fl00000000000a",
    "type",
    "veth",
    "peer",
    "name",
    "eth0",
    "netns",
    pod.name,
  );
  node.run("ip", "link", "set", "fl00000000000a", "up");
  node.run("ip", "address", "add", "169.254.1.1/32", "dev", "fl00000000000a");
  node.run("ip", "address", "add", "fe80::1/128", "dev", "fl00000000000a", "nodad");
  pod.run("ip", "link", "set", "eth0", "up");
  for (const address of addresses) {
    pod.run("ip", "address", "add", address, "dev", "eth0", ...noDad(address));
    node.run("ip", "route", "add", address, "dev", "fl00000000000a", "proto", "76");
    const via = address.includes(":") ? "fe80::1" : "169.254.1.1";
    pod.run("ip", "route", "add", "default", "via", via, "dev", "eth0", "onlink");
  }
}

describe.each<[string, Underlay]>([
  ["IPv4", { addresses: ["172.30.1.11", "172.30.1.12"], prefixLength: 24, mtu: 1450 }],
  ["IPv6", { addresses: ["2001:db8::11", "2001:db8::12"], prefixLength: 64, mtu: 1430 }],
])("over an underlay of %s", (_, underlay) => {
  test("pods of both families reach the other node, and the plan is stable", async () => {
    const nodes = startNodes(underlay);
    for (const { reconciler } of nodes) {
      await vi.waitFor(() => {
        const state = reconciler.state();
        expect(state?.problems).toEqual([]);
        expect(state?.isProgrammed).toBe(true);
        expect(state?.plan.local?.mtu).toBe(underlay.mtu);
      }, waiting);
    }
    const [a] = nodes;
    expect(ping(a!.node, "10.244.2.2")).toContain("1 received");
    expect(ping(a!.node, "fd00:10:244:2::2")).toContain("1 received");
    expect(a!.node.run("ip", "-6", "route", "show", "table", "local", "proto", "76")).toContain(
      "local fd00:10:96::a dev lo",
    );
    // What was written compares equal with what is read back: nothing is repaired at rest.
    const before = a!.reconciler.counters.passes;
    a!.node.run("ip", "link", "set", "lo", "mtu", "60000");
    await vi.waitFor(() => expect(a!.reconciler.counters.passes).toBeGreaterThan(before), waiting);
    expect(Object.values(a!.reconciler.counters.repairs)).toEqual([0, 0, 0, 0, 0, 0, 0]);
  });

  test.each([
    ["a route", "ip -6 route del fd00:10:244:2::/64"],
    ["a neighbor", "ip -6 neighbor del fd00:10:244:2:: dev fl-vxlan"],
    ["the address", "ip -6 address flush dev fl-vxlan"],
    ["the device", "ip link del fl-vxlan"],
  ])("%s of IPv6 is put back", async (_kind, command) => {
    const [a, b] = startNodes(underlay);
    for (const { reconciler } of [a!, b!]) {
      await vi.waitFor(() => expect(reconciler.state()?.isProgrammed).toBe(true), waiting);
    }
    a!.node.run("sh", "-c", command);
    await vi.waitFor(() => {
      expect(a!.node.run("ip", "-6", "route")).toMatch(
        /fd00:10:244:2::\/64 via fd00:10:244:2:: dev fl-vxlan proto 76 src fd00:10:244:1:: metric 3 onlink/,
      );
    }, waiting);
    await vi.waitFor(
      () => expect(ping(a!.node, "fd00:10:244:2::2")).toContain("1 received"),
      waiting,
    );
  });
});
