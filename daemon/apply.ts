// A plan brought into the kernel: settings, network objects, nftables table. Each step does what it
// can, whatever became of the others.
import { familyOf } from "../core/address.ts";
import { assertNever } from "../core/assert.ts";
import { type HostPortHolder, withHostPorts } from "../core/desired/host-ports.ts";
import type { DesiredNode, ObservedNode } from "../core/desired/node-state.ts";
import type { NodePlan, PlanSettings } from "../core/desired/plan.ts";
import { desireSysctls, globalRpFilterProblem } from "../core/desired/sysctl.ts";
import { diffNode, isForeignDevice } from "../core/diff.ts";
import { describeError, hasErrno } from "../core/error.ts";
import { formatChange } from "../core/format-change.ts";
import { nftTableName, vxlanDevice } from "../core/names.ts";
import type { Change } from "../core/network.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { observeNode } from "./observe.ts";

export type AppliedKind = "link" | "address" | "neighbor" | "fdb" | "route" | "nftables" | "sysctl";

/** Something that was not as planned and now is. */
export interface Applied {
  readonly kind: AppliedKind;
  /** As `ip`, `bridge` or `sysctl` would say it. */
  readonly what: string;
}

export interface ApplyResult {
  readonly applied: readonly Applied[];
  /** Why something of the plan is not in the kernel. */
  readonly failures: readonly string[];
  /** What is wrong though the plan is in the kernel. */
  readonly warnings: readonly string[];
}

export interface ApplyContext {
  readonly kernel: Kernel;
  readonly settings: PlanSettings;
  /** Those of the node's attachments. */
  readonly hostPorts: () => readonly HostPortHolder[];
  /** Called before a setting is written for the first time, with its value until now. */
  readonly rememberSysctl: (name: string, value: string) => void;
}

export interface ApplyOptions {
  /** Before the source is in sync nothing is removed. */
  readonly isInSync: boolean;
  /** Also what notifies of its changes: links, addresses, neighbors, routes. */
  readonly isFull: boolean;
}

export function applyPlan(
  context: ApplyContext,
  plan: NodePlan,
  { isInSync, isFull }: ApplyOptions,
): ApplyResult {
  const applied: Applied[] = [];
  const failures: string[] = [];
  const warnings: string[] = [];
  const step = (work: () => readonly Applied[]): void => {
    try {
      applied.push(...work());
    } catch (error) {
      failures.push(describeFailure(error, context.settings));
    }
  };
  if (isFull) {
    step(() => {
      const observed = observeNode(context.kernel);
      failures.push(...foreignDevice(plan.desired, observed));
      // Where too little is known to plan, what is there stays as it is.
      const mayRemove = isInSync && plan.local !== undefined;
      const changes = diffNode(plan.desired, observed, { mayRemove });
      context.kernel.apply(changes);
      return changes.map((change) => ({ kind: appliedKind(change), what: formatChange(change) }));
    });
  }
  step(() => applySysctls(context, plan));
  step(() => applyTable(context, plan));
  const rpFilter = globalRpFilterProblem((name) => context.kernel.readSysctl(name));
  if (rpFilter !== undefined) warnings.push(rpFilter);
  return { applied, failures, warnings };
}

function applySysctls(
  { kernel, settings, rememberSysctl }: ApplyContext,
  { local, desired }: NodePlan,
): readonly Applied[] {
  if (local === undefined) return [];
  const wanted = desireSysctls({
    families: new Set(settings.podCidrs.map(familyOf)),
    underlay: local.underlay.device,
    hasVxlan: desired.vxlan !== undefined,
    read: (name) => kernel.readSysctl(name),
  });
  return wanted.flatMap(({ name, value }) => {
    const now = kernel.readSysctl(name);
    if (now === undefined || now === value) return [];
    // What our own device had goes with the device.
    if (!name.includes(`/${vxlanDevice}/`)) rememberSysctl(name, now);
    kernel.writeSysctl(name, value);
    return [{ kind: "sysctl", what: `sysctl ${name} = ${value} (was ${now})` }];
  });
}

function applyTable(context: ApplyContext, { local }: NodePlan): readonly Applied[] {
  if (local === undefined) return [];
  const table = withHostPorts(local.table, context.hostPorts());
  if (!context.kernel.applyNft(table)) return [];
  return [{ kind: "nftables", what: `nft table inet ${nftTableName}` }];
}

function foreignDevice(desired: DesiredNode, { link }: ObservedNode): readonly string[] {
  if (desired.vxlan === undefined || !isForeignDevice(desired.vxlan, link)) return [];
  const type = link?.type ?? "physical";
  return [
    `Cannot make ${vxlanDevice}: a ${type} device of this name is there that fairlead did not make; expected it removed or renamed`,
  ];
}

function describeFailure(error: unknown, { port }: PlanSettings): string {
  const hint = hasErrno(error, "EADDRINUSE")
    ? `: another program or device uses UDP port ${port} of network.vxlan.port`
    : "";
  return describeError(error) + hint;
}

function appliedKind({ kind }: Change): AppliedKind {
  switch (kind) {
    case "add-veth":
    case "add-vxlan":
    case "replace-shaping":
    case "set-link":
    case "remove-link":
      return "link";
    case "add-address":
    case "remove-address":
      return "address";
    case "replace-neighbor":
    case "remove-neighbor":
      return "neighbor";
    case "replace-fdb":
    case "remove-fdb":
      return "fdb";
    case "add-route":
    case "replace-route":
    case "remove-route":
      return "route";
    default:
      return assertNever(kind);
  }
}
