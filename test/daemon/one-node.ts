// One node on the real kernel with the daemon's reconcile loop, whose cluster is what a test says, and whose
// time never comes: only events and news make it work.
import { expect, vi } from "vitest";
import { settleMembership } from "../../core/cluster/membership.ts";
import type { Node } from "../../core/cluster/model.ts";
import { desiredOf, planNode, type PlanSettings } from "../../core/desired/plan.ts";
import { diffNode } from "../../core/diff.ts";
import { formatChange } from "../../core/format-change.ts";
import { silentLog } from "../../core/log.ts";
import { RepairLedger } from "../../core/repair-ledger.ts";
import { parseConfig } from "../../daemon/config/config.ts";
import { planSettings } from "../../daemon/daemon.ts";
import { observeNode, observeUnderlay } from "../../daemon/reconcile/observe.ts";
import { Reconciler, type ReconcilerOptions } from "../../daemon/reconcile/reconcile.ts";
import { systemClock } from "../../kernel/clock.ts";
import { openKernel } from "../../kernel/linux.ts";
import { cidr, ip } from "../support/builders.ts";
import { createNamespace } from "../support/netns.ts";
import { nodeA } from "../support/overlay.ts";
import { createFakeSource } from "../support/source.ts";

// Against hanging alone.
export const waiting = { timeout: 60_000, interval: 5 };

const config = `network: { podCIDRs: [10.244.0.0/16, "fd00:10:244::/48"], serviceCIDRs: [] }`;
const usualSettings = planSettings(parseConfig(config, "test", { nodeName: "node-a" }));
const local = {
  ...nodeA,
  addresses: [...nodeA.addresses, ip("2001:db8:1::11")],
  podCidrs: [...nodeA.podCidrs, cidr("fd00:10:244:1::/64")],
};

const shown = `ip -d link show fl-vxlan; ip address show dev fl-vxlan
for family in 4 6; do ip -d -$family route show table all proto 76; done
ip neighbor show dev fl-vxlan nud all; bridge fdb show dev fl-vxlan; true`;

export type OneNode = ReturnType<typeof openOneNode>;

/** @param other settings that are not as usual. */
export function openOneNode(
  other: Partial<PlanSettings> = {},
  told: Pick<ReconcilerOptions, "onPods" | "onElsewhere"> = {},
) {
  const settings = { ...usualSettings, ...other };
  using stack = new DisposableStack();
  const node = stack.use(createNamespace());
  const ipCommand = (words: string): string => node.run("ip", ...words.split(" "));
  ipCommand("link add eth0 type veth peer name far");
  for (const end of ["eth0", "far"]) ipCommand(`link set ${end} up`);
  ipCommand("address add 172.30.1.11/24 dev eth0");
  ipCommand("address add 2001:db8:1::11/64 dev eth0 nodad");
  const kernel = stack.use(openKernel({ namespace: node.path }));
  const source = createFakeSource();
  const reconciler = stack.use(
    new Reconciler({
      ...told,
      ledger: new RepairLedger(),
      kernel,
      source,
      settings,
      removalGraceMs: 0,
      missingNodeHint: () => "no node-a",
      hostPorts: () => [],
      podAddresses: () => [],
      rememberSysctl: () => {},
      onPass: () => {},
      clock: systemClock,
      log: silentLog,
      timing: {
        pauseMs: 1,
        resyncMs: 600_000,
        fullMs: 600_000,
        fullShare: 1,
        backoffMs: 10,
        backoffMaxMs: 100,
      },
    }),
  );
  const leftToDo = (peers: readonly Node[]): readonly string[] => {
    const membership = settleMembership([local, ...peers], settings.podCidrs);
    const links = observeUnderlay(kernel);
    const plan = planNode({ settings, membership, links, missingNodeHint: "" });
    const desired = desiredOf(plan);
    return diffNode(desired, observeNode(kernel), { mayRemove: true }).map(formatChange);
  };
  const asShown = (): readonly string[] =>
    node
      .run("sh", "-c", shown)
      .split("\n")
      .map((line) => line.replace(/^\d+: /, "").trim())
      // The same, where the carrier was lost and is back.
      .map((line) => line.replace("state UNKNOWN", "state UP"))
      // The kernel's own neighbors, for multicast.
      .filter((line) => line !== "" && !line.startsWith("ff02::"))
      .sort();
  const owned = stack.move();
  return {
    node,
    kernel,
    reconciler,
    /** All that the node has of the network, in the words of the kernel's own tools. */
    asShown,
    /** A cluster of these and the node itself. */
    see: (peers: readonly Node[]): void => source.setNodes(local, ...peers),
    /** What a comparison with a plan made anew would change. */
    leftToDo,
    reach: (peers: readonly Node[]): Promise<void> => {
      source.setNodes(local, ...peers);
      return vi.waitFor(() => expect(leftToDo(peers)).toEqual([]), waiting);
    },
    stays: (peers: readonly Node[]): Promise<void> =>
      vi.waitFor(() => expect(leftToDo(peers)).toEqual([]), waiting),
    [Symbol.dispose]: (): void => owned.dispose(),
  };
}
