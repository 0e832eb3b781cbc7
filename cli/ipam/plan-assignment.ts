// Which Nodes get which pod CIDRs. Pure.
import { type Cidr, cidrBase, cidrLast, familyOf, ipToBigInt } from "../../core/address.ts";
import type { Node } from "../../core/cluster/model.ts";
import {
  type BlockPlan,
  describeExhaustion,
  exhaustedOf,
  familiesOf,
  freeBlocks,
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
  // Each goes on where the Node before left off: thousands of Nodes take no longer than their number.
  const free = familiesOf(plan).map((family) => ({
    family,
    blocks: freeBlocks(plan, family, taken),
  }));
  const assignments: Assignment[] = [];
  for (const node of nodes) {
    if (only !== undefined && node.name !== only) continue;
    const podCidrs: Cidr[] = [];
    for (const { family, blocks } of free) {
      const has = node.podCidrs.some((cidr) => familyOf(cidr) === family && isOfPool(cidr));
      const wanted = count ?? (has ? 0 : 1);
      for (let i = 0; i < wanted; i++) {
        const next = blocks.next();
        if (next.done === true) {
          const lack = describeExhaustion(exhaustedOf(plan, family));
          const missing =
            count === undefined ? "is left without" : `gets none: ${i} of ${count} are free for it`;
          throw new Error(`${lack}. Node ${node.name} ${missing}`);
        }
        podCidrs.push(next.value);
      }
    }
    if (podCidrs.length > 0) assignments.push({ node, podCidrs });
  }
  return assignments;
}

function refuseOverlaps(nodes: readonly Node[]): void {
  const held = nodes
    .flatMap(({ name, podCidrs }) => podCidrs.map((cidr) => ({ name, cidr, ...boundsOf(cidr) })))
    .sort((a, b) => a.family - b.family || compare(a.first, b.first) || compare(b.last, a.last));
  // Networks are nested or apart: whoever overlaps an earlier one lies in the last that reaches so far.
  const overlaps: string[] = [];
  let around = held[0];
  for (const one of held.slice(1)) {
    if (around !== undefined && around.family === one.family && one.first <= around.last) {
      const [x, y] = [around, one].sort((a, b) => (a.name < b.name ? -1 : 1));
      overlaps.push(`${x?.cidr} of Node ${x?.name} and ${y?.cidr} of Node ${y?.name}`);
    } else around = one;
  }
  if (overlaps.length === 0) return;
  const [shown, more] = [overlaps.slice(0, 5), overlaps.length - 5];
  throw new Error(
    `Cannot assign pod CIDRs while some overlap: ${shown.join("; ")}${more > 0 ? `; and ${more} more` : ""}. ` +
      "Take them from all Nodes but one",
  );
}

const boundsOf = (cidr: Cidr) => ({
  family: familyOf(cidr),
  first: ipToBigInt(cidrBase(cidr)),
  last: ipToBigInt(cidrLast(cidr)),
});

const compare = (a: bigint, b: bigint): number => (a < b ? -1 : a > b ? 1 : 0);
