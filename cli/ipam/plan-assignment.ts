// Which Nodes get which pod CIDRs. Pure.
import { type Cidr, cidrsOverlap, familyOf } from "../../core/address.ts";
import type { Node } from "../../core/cluster/model.ts";
import {
  assignBlocks,
  type BlockPlan,
  describeExhaustion,
  familiesOf,
} from "../../ipam/node-blocks.ts";

export interface AssignmentRequest {
  readonly plan: BlockPlan;
  /** Whether a pod CIDR that a Node has is of the pool that the plan divides. */
  readonly isOfPool: (podCidr: Cidr) => boolean;
  /** All of the cluster, in the order in which they are served. */
  readonly nodes: readonly Node[];
  /** Only this one is served. */
  readonly only?: string;
  /** Blocks of each family, beyond those that are there. Without: what a family lacks. */
  readonly count?: number;
}

export interface Assignment {
  readonly node: Node;
  /** What it gets, beyond `node.podCidrs`. */
  readonly podCidrs: readonly Cidr[];
}

/** Throws Error when a family is exhausted, or when what is there already overlaps. */
export function planAssignment(request: AssignmentRequest): readonly Assignment[] {
  const { plan, isOfPool, nodes, only, count } = request;
  refuseOverlaps(nodes);
  const taken = nodes.flatMap(({ podCidrs }) => podCidrs);
  const assignments: Assignment[] = [];
  for (const node of nodes) {
    if (only !== undefined && node.name !== only) continue;
    const families = familiesOf(plan).filter(
      (family) =>
        count !== undefined ||
        !node.podCidrs.some((cidr) => familyOf(cidr) === family && isOfPool(cidr)),
    );
    if (families.length === 0) continue;
    const given = assignBlocks(plan, {
      taken,
      families,
      ...(count === undefined ? {} : { count }),
    });
    if (given.kind === "exhausted") {
      throw new Error(`${describeExhaustion(given)}. Node ${node.name} is left without`);
    }
    taken.push(...given.blocks);
    assignments.push({ node, podCidrs: given.blocks });
  }
  return assignments;
}

function refuseOverlaps(nodes: readonly Node[]): void {
  const held = nodes.flatMap(({ name, podCidrs }) => podCidrs.map((cidr) => ({ name, cidr })));
  const overlaps = held.flatMap((one, i) =>
    held
      .slice(i + 1)
      .filter((other) => cidrsOverlap(one.cidr, other.cidr))
      .map((other) => `${one.cidr} of Node ${one.name} and ${other.cidr} of Node ${other.name}`),
  );
  if (overlaps.length === 0) return;
  const [shown, more] = [overlaps.slice(0, 5), overlaps.length - 5];
  throw new Error(
    `Cannot assign pod CIDRs while some overlap: ${shown.join("; ")}${more > 0 ? `; and ${more} more` : ""}. ` +
      "Take them from all Nodes but one",
  );
}
