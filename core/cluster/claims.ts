// Who claims what, kept from cluster to cluster: whether anything is claimed twice is known without
// looking at all nodes again.
import {
  type Cidr,
  type Family,
  cidrContains,
  cidrPrefixLength,
  familyOf,
  type Ip,
} from "../address.ts";
import type { Node } from "./model.ts";

/** What makes the nodes of one cluster those of another. */
export interface NodeDifference {
  readonly gone: readonly Node[];
  readonly come: readonly Node[];
}

export class Claims {
  #nodes: ReadonlyMap<string, Node> = new Map();
  readonly #counts = new Map<Ip | Cidr, number>();
  readonly #lengths: Readonly<Record<Family, Map<number, number>>> = { 4: new Map(), 6: new Map() };
  readonly #clusterCidrs: readonly Cidr[];
  /** Claims beyond the first of each. */
  #repeated = 0;
  /** Nodes' addresses that lie in the pods' networks. */
  #amongPods = 0;

  constructor(clusterCidrs: readonly Cidr[]) {
    this.#clusterCidrs = clusterCidrs;
  }

  /**
   * Makes it be the claims of these nodes, by name. One walk over them, whatever has changed: who has
   * thousands looks at each no more often than that. The map is kept, and must not change.
   */
  follow(nodes: ReadonlyMap<string, Node>): NodeDifference {
    const before = this.#nodes;
    this.#nodes = nodes;
    const [gone, come]: [Node[], Node[]] = [[], []];
    for (const [name, node] of nodes) {
      const other = before.get(name);
      if (other === node) continue;
      if (other !== undefined) gone.push(other);
      come.push(node);
    }
    const isEachKept = before.size + come.length - gone.length === nodes.size;
    for (const [name, node] of isEachKept ? [] : before) if (!nodes.has(name)) gone.push(node);
    for (const node of come) this.#count(node, 1);
    for (const node of gone) this.#count(node, -1);
    return { gone, come };
  }

  /** An address, or a pod CIDR, that is claimed more than once. */
  get hasRepeated(): boolean {
    return this.#repeated > 0;
  }

  /** A node's own address that is one of the pods' networks. */
  get hasAddressAmongPods(): boolean {
    return this.#amongPods > 0;
  }

  /** The prefix lengths of all pod CIDRs: in practice one per family. */
  get lengths(): Readonly<Record<Family, ReadonlySet<number>>> {
    return { 4: new Set(this.#lengths[4].keys()), 6: new Set(this.#lengths[6].keys()) };
  }

  has(claim: Ip | Cidr): boolean {
    return this.#counts.has(claim);
  }

  #count({ addresses, podCidrs }: Node, step: 1 | -1): void {
    for (const address of addresses) {
      this.#countClaim(address, step);
      if (this.#clusterCidrs.some((cidr) => cidrContains(cidr, address))) this.#amongPods += step;
    }
    for (const podCidr of podCidrs) {
      this.#countClaim(podCidr, step);
      const lengths = this.#lengths[familyOf(podCidr)];
      const length = cidrPrefixLength(podCidr);
      const left = (lengths.get(length) ?? 0) + step;
      if (left === 0) lengths.delete(length);
      else lengths.set(length, left);
    }
  }

  #countClaim(claim: Ip | Cidr, step: 1 | -1): void {
    const before = this.#counts.get(claim) ?? 0;
    if (before + step === 0) this.#counts.delete(claim);
    else this.#counts.set(claim, before + step);
    if (Math.max(before, before + step) > 1) this.#repeated += step;
  }
}
