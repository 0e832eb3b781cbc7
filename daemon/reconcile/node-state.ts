// Where the node stands after a pass: what the rest of the daemon goes by.
import type { Snapshot } from "../../core/cluster/model.ts";
import type { NodePlan } from "../../core/desired/plan.ts";
import type { StatusProblem } from "../../core/status.ts";
import type { UnroutedPeers } from "./unrouted-peers.ts";

/** Where the node stands after a pass. */
export interface NodeState {
  readonly snapshot: Snapshot;
  readonly plan: NodePlan;
  /** The whole plan is in the kernel. */
  readonly isProgrammed: boolean;
  readonly problems: readonly StatusProblem[];
  /** Peers that the machine itself has no way to. */
  readonly unrouted: ReadonlySet<string>;
}

interface Findings {
  readonly held: readonly string[];
  readonly failures: readonly string[];
  readonly warnings: readonly string[];
  readonly unrouted: UnroutedPeers;
}

export function stateOf(
  snapshot: Snapshot,
  plan: NodePlan,
  { held, failures, warnings, unrouted }: Findings,
): NodeState {
  const isProgrammed = failures.length === 0 && plan.local !== undefined;
  const inArea = (
    area: StatusProblem["area"],
    messages: readonly string[],
  ): readonly StatusProblem[] => messages.map((message) => ({ area, message }));
  const kernelProblems = inArea("kernel", [...failures, ...warnings]);
  const heldProblems = inArea("cluster", held);
  const problems = [...plan.problems, ...heldProblems, ...unrouted.problems(), ...kernelProblems];
  return { snapshot, plan, isProgrammed, problems, unrouted: unrouted.names };
}
