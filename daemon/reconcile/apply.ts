// A plan brought into the kernel: settings, network objects, nftables table. Each step does what it
// can, whatever became of the others.
import { familyOf } from "../../core/address.ts";
import { assertNever } from "../../core/assert.ts";
import { type HostPortHolder, withHostPorts } from "../../core/desired/host-ports.ts";
import { isNodeRoute, type ObservedNode } from "../../core/desired/node-state.ts";
import type { NodePlan, PlanSettings } from "../../core/desired/plan.ts";
import { overlayAlias } from "../../core/desired/overlay.ts";
import { desireSysctls, globalRpFilterProblem } from "../../core/desired/sysctl.ts";
import { diffKeyed, isForeignDevice, type KeyedNode } from "../../core/diff.ts";
import { describeError, hasErrno } from "../../core/error.ts";
import { type Applied, describeApplied, type Finding, findingOf } from "../../core/finding.ts";
import { nftTableName, routeProtocol, vxlanDevice } from "../../core/names.ts";
import { type Change, deviceOf, type Link } from "../../core/network.ts";
import { formatNftSteps } from "../../core/nft-step.ts";
import type { RepairKind } from "../../core/repair-ledger.ts";
import type { RepairStatus } from "../../core/status.ts";
import type { Target } from "../../core/target.ts";
import type { Kernel, KernelEvent } from "../../kernel/kernel.ts";
import { observeNode } from "./observe.ts";

/** More at once are only counted in log and ledger. */
export const named = 16;

export interface ApplyResult {
  readonly applied: readonly Applied[];
  /** Why something of the plan is not in the kernel. */
  readonly failures: readonly string[];
}

export interface ApplyContext {
  readonly kernel: Kernel;
  readonly settings: PlanSettings;
  /** Those of the node's attachments. */
  readonly hostPorts: () => readonly HostPortHolder[];
  /** Called before a setting is written for the first time, with its value until now. */
  readonly rememberSysctl: (name: string, value: string) => void;
}

/** Where too little is known to plan, or not all of the cluster, what is there stays as it is. */
export interface CompareOptions {
  readonly mayRemove: boolean;
}

/** More are written off the event loop. */
export const writtenAtOnce = 256;

/**
 * Reads all network objects of the node, and makes them be what the target says. What of many that is not
 * about the device itself is left to `later`.
 */
export function compareAll(
  { kernel, settings }: ApplyContext,
  target: Target,
  { mayRemove, later }: CompareOptions & { readonly later: (findings: readonly Finding[]) => void },
): ApplyResult {
  return collect(settings, (step, failures) => {
    step(() => removeRenamed(kernel, target));
    step(() => {
      const observed = observeNode(kernel, target);
      failures.push(...foreignDevice(target, observed));
      const changes = diffKeyed(target, observed, { mayRemove });
      noteOwn(target, observed.link);
      // Of a whole cluster's objects one by one only those are looked for that anybody reads.
      const findings = changes.map((change, i) =>
        i < named ? findingOf(change, observed) : { change },
      );
      const isLate = changes.length > writtenAtOnce;
      const ofMany = isLate ? changes.findIndex(({ kind }) => isOfMany(kind)) : -1;
      const first = ofMany < 0 ? changes.length : ofMany;
      try {
        kernel.apply(changes.slice(0, first));
      } finally {
        const link = kernel.link(vxlanDevice);
        noteOwn(target, link);
        const rest = isLate ? findings.slice(first) : [];
        // Somebody was faster with one of the name.
        later(isForeignDevice(target, link) ? rest.filter(isForOthers) : rest);
      }
      return findings.slice(0, first);
    });
  });
}

/** Whether the device that we want is there, and not somebody else's of its name. */
function isOurs(kernel: Kernel, target: Target): boolean {
  const link = target.vxlan && kernel.link(vxlanDevice);
  return link !== undefined && !isForeignDevice(target, link);
}

/** Remembers our own by its index: more may be altered on it than it could be told by. */
function noteOwn(target: Target, link: Link | undefined): void {
  if (link !== undefined && !isForeignDevice(target, link)) target.ownIndex = link.index;
}

/** Our device under a name that somebody gave it: it has the port and the VNI that one of ours is to have. */
function removeRenamed(kernel: Kernel, { vxlan, ownIndex }: KeyedNode): readonly Applied[] {
  if (vxlan === undefined || kernel.link(vxlanDevice) !== undefined) return [];
  const isOurs = ({ type, alias, index }: Link): boolean =>
    type === "vxlan" && (alias === overlayAlias || index === ownIndex);
  const link = kernel.links().find(isOurs);
  if (link === undefined) return [];
  const change: Change = { kind: "remove-link", device: link.name };
  kernel.apply([change]);
  return [findingOf(change, { link, addresses: [], neighbors: [], fdb: [], routes: [] })];
}

/** Puts nothing on the VXLAN device. */
const isForOthers = ({ change }: Finding): boolean =>
  change.kind.startsWith("remove") || deviceOf(change) !== vxlanDevice;

/** Behind these in a comparison's changes comes nothing that they need. */
const isOfMany = (kind: Change["kind"]): boolean => /neighbor|fdb|route/.test(kind);

/** As {@link applyChanges}, while the event loop goes on; does not reject. */
export async function applyOffLoop(
  { kernel, settings }: Pick<ApplyContext, "kernel" | "settings">,
  findings: readonly Finding[],
): Promise<ApplyResult> {
  try {
    await kernel.applyOffLoop(findings.map(({ change }) => change));
    return { applied: findings, failures: [] };
  } catch (error) {
    return { applied: [], failures: [describeFailure(error, settings)] };
  }
}

/** Whether the node has nothing of its network: cheap where it has. */
export const isBare = (kernel: Kernel): boolean =>
  kernel.link(vxlanDevice) === undefined &&
  !kernel.routes({ protocol: routeProtocol }).some(isNodeRoute);

/**
 * Reads the VXLAN device and its addresses, and makes them be what the target says. Undefined, and nothing
 * done, where everything is to be compared: the device is missing, another one, or somebody else's.
 */
export function fitDevice(
  { kernel, settings }: ApplyContext,
  target: Target,
  options: CompareOptions,
): ApplyResult | undefined {
  const link = kernel.link(vxlanDevice);
  const nothing = { neighbors: [], fdb: [], routes: [] };
  const observed: ObservedNode =
    link === undefined
      ? { ...nothing, addresses: [] }
      : { ...nothing, link, addresses: kernel.addresses(vxlanDevice) };
  const { vxlan, ownIndex, addresses } = target;
  const none = { neighbors: new Map(), fdb: new Map(), routes: new Map() };
  const changes = diffKeyed({ vxlan, ownIndex, addresses, ...none }, observed, options);
  const isOther = changes.some(({ kind }) => kind === "add-vxlan" || kind === "remove-link");
  if (isOther || isForeignDevice(target, link)) return undefined;
  noteOwn(target, link);
  return applyChanges(
    { kernel, settings },
    changes.map((change) => findingOf(change, observed)),
  );
}

/** Makes these changes, which are known to be needed. */
export const applyChanges = (
  { kernel, settings }: Pick<ApplyContext, "kernel" | "settings">,
  findings: readonly Finding[],
): ApplyResult =>
  collect(settings, (step) => {
    step(() => {
      if (findings.length > 0) kernel.apply(findings.map(({ change }) => change));
      return findings;
    });
  });

/** Compares the kernel's settings, and puts them right. */
export const applySettings = (context: ApplyContext, plan: NodePlan, target: Target): ApplyResult =>
  collect(context.settings, (step) =>
    step(() => setSysctls(context, plan, isOurs(context.kernel, target))),
  );

/** Likewise the nftables table. */
export const applyTable = (context: ApplyContext, plan: NodePlan): ApplyResult =>
  collect(context.settings, (step) => step(() => setTable(context, plan)));

/** What is wrong though the plan is in the kernel. */
export const findWarnings = ({ kernel }: ApplyContext): readonly string[] => {
  const rpFilter = globalRpFilterProblem((name) => kernel.readSysctl(name));
  return rpFilter === undefined ? [] : [rpFilter];
};

type Step = (work: () => readonly Applied[]) => void;

function collect(
  settings: PlanSettings,
  work: (step: Step, failures: string[]) => void,
): ApplyResult {
  const applied: Applied[] = [];
  const failures: string[] = [];
  work((one) => {
    try {
      for (const change of one()) applied.push(change);
    } catch (error) {
      failures.push(describeFailure(error, settings));
    }
  }, failures);
  return { applied, failures };
}

function setSysctls(
  { kernel, settings, rememberSysctl }: ApplyContext,
  { local }: NodePlan,
  hasVxlan: boolean,
): readonly Applied[] {
  if (local === undefined) return [];
  const wanted = desireSysctls({
    families: new Set(settings.podCidrs.map(familyOf)),
    underlay: local.underlay.device,
    hasVxlan,
    read: (name) => kernel.readSysctl(name),
  });
  return wanted.flatMap(({ name, value }) => {
    const now = kernel.readSysctl(name);
    if (now === undefined || now === value) return [];
    // What our own device had goes with the device.
    if (!name.includes(`/${vxlanDevice}/`)) rememberSysctl(name, now);
    kernel.writeSysctl(name, value);
    return [{ kind: "sysctl", what: `sysctl ${name} = ${value}`, found: `${name} = ${now}` }];
  });
}

function setTable(context: ApplyContext, { local }: NodePlan): readonly Applied[] {
  if (local === undefined) return [];
  const table = withHostPorts(local.table, context.hostPorts());
  const steps = context.kernel.applyNft(table);
  if (steps.length === 0) return [];
  const { done, found } = formatNftSteps(steps);
  return [{ kind: "nftables", what: `nft table inet ${nftTableName}: ${done}`, found }];
}

function foreignDevice(target: KeyedNode, { link }: ObservedNode): readonly string[] {
  if (target.vxlan === undefined || !isForeignDevice(target, link)) return [];
  const type = link?.type ?? "physical";
  return [
    `Cannot make ${vxlanDevice}: a ${type} device of this name is there that fairlead did not make; expected it removed or renamed`,
  ];
}

function describeFailure(error: unknown, { vni, port }: PlanSettings): string {
  const said = describeError(error);
  if (hasErrno(error, "EEXIST") && said.includes("type vxlan")) {
    return `${said}: another device has VNI ${vni} of network.vxlan.vni; expected it removed, or another VNI on all nodes`;
  }
  if (hasErrno(error, "EADDRINUSE")) {
    return `${said}: another program or device uses UDP port ${port} of network.vxlan.port`;
  }
  if (hasErrno(error, "EOPNOTSUPP") && said.includes("type vxlan")) {
    return `${said}: this kernel has no VXLAN; load the module vxlan, or use network.backend direct`;
  }
  return said;
}

export const appliedKind = (applied: Applied): RepairKind =>
  "what" in applied ? applied.kind : changeKind(applied.change);

export const repairOf = (applied: Applied): Omit<RepairStatus, "at"> => ({
  kind: appliedKind(applied),
  ...describeApplied(applied),
});

/** Routes that we removed, which nobody is told of: the kernel may have taken a pod's for one that stood in its place. */
export const removalsIn = (applied: readonly Applied[]): KernelEvent => ({
  objects: new Set(["route"]),
  devices: new Set(),
  lossy: new Set(),
  changes: applied.flatMap((one) =>
    "change" in one && one.change.kind === "remove-route"
      ? [{ kind: "route-gone", item: one.change.route }]
      : [],
  ),
  overflow: false,
});

function changeKind({ kind }: Change): RepairKind {
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
