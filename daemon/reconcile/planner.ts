// The plan for each snapshot: the same object, in whole or in its parts, while nothing that it is made of
// has changed.
import { isDeepStrictEqual } from "node:util";
import type { Ip } from "../../core/address.ts";
import {
  type Membership,
  membershipSettler,
  type SettleMembership,
} from "../../core/cluster/membership.ts";
import type { Snapshot } from "../../core/cluster/model.ts";
import { outsideOf } from "../../core/cluster/stray.ts";
import { type NodePlan, planNode, type PlanSettings } from "../../core/desired/plan.ts";
import type { LinkAddresses } from "../../core/desired/underlay.ts";

export interface PlannerOptions {
  readonly settings: PlanSettings;
  /** What to do about a node that the cluster does not have. */
  readonly missingNodeHint: (membership: Membership, links: readonly LinkAddresses[]) => string;
  /** Addresses of this node's pods in the network. */
  readonly podAddresses: () => readonly Ip[];
  /** So many peers are planned before the event loop has its turn. */
  readonly newPeersAtMost?: number;
}

/** Some 10 ms of work. */
const usualNewPeersAtMost = 500;

export class Planner {
  #options: PlannerOptions;
  readonly #settle: SettleMembership;
  #membership: { readonly of: Snapshot; readonly value: Membership } | undefined;
  #links: readonly LinkAddresses[] = [];
  /** Addresses of this node's pods outside its pod CIDRs. */
  #strays: readonly Ip[] = [];
  /** Of an earlier plan all is used again that still holds. */
  #latest: NodePlan | undefined;
  #isCurrent = false;

  constructor(options: PlannerOptions) {
    this.#options = options;
    this.#settle = membershipSettler(options.settings.podCidrs);
  }

  /** Settings of which only masquerading is another. */
  use(settings: PlanSettings): void {
    this.#options = { ...this.#options, settings };
    this.#latest = undefined;
    this.#isCurrent = false;
  }

  seeLinks(links: readonly LinkAddresses[]): void {
    if (isDeepStrictEqual(links, this.#links)) return;
    this.#links = links;
    this.#isCurrent = false;
  }

  /** Looks for pods that are outside the node's pod CIDRs. */
  seePods(snapshot: Snapshot): void {
    this.#findStrays(this.#settled(snapshot));
  }

  #findStrays(membership: Membership): void {
    const { settings, podAddresses } = this.#options;
    const podCidrs = membership.nodes.get(settings.nodeName)?.podCidrs ?? [];
    const strays = outsideOf(podAddresses(), podCidrs, settings.podCidrs);
    if (isDeepStrictEqual(strays, this.#strays)) return;
    this.#strays = strays;
    this.#isCurrent = false;
  }

  /** Of a cluster that is large and new only a part, marked so: the next call goes on with it. */
  plan(snapshot: Snapshot): NodePlan {
    const membership = this.#settled(snapshot);
    if (this.#isCurrent && this.#latest !== undefined) return this.#latest;
    const { settings, missingNodeHint, newPeersAtMost = usualNewPeersAtMost } = this.#options;
    const [links, strays] = [this.#links, this.#strays];
    const isThere = membership.nodes.has(settings.nodeName);
    const hint = isThere ? "" : missingNodeHint(membership, links);
    const input = { settings, membership, links, missingNodeHint: hint, strays };
    const plan = planNode({ ...input, newPeersAtMost }, this.#latest);
    if (this.#latest === undefined || !isSamePlan(this.#latest, plan)) this.#latest = plan;
    this.#isCurrent = this.#latest.isPartial !== true;
    return this.#latest;
  }

  #settled(snapshot: Snapshot): Membership {
    if (this.#membership?.of === snapshot) return this.#membership.value;
    const before = this.#membership?.value;
    const value = this.#settle(snapshot.nodes, snapshot.pods.values());
    this.#membership = { of: snapshot, value };
    this.#isCurrent = false;
    const { nodeName } = this.#options.settings;
    if (before?.nodes.get(nodeName) !== value.nodes.get(nodeName)) this.#findStrays(value);
    return value;
  }
}

/** Links and nodes come and go that change nothing here. */
const isSamePlan = (a: NodePlan, b: NodePlan): boolean =>
  a.own === b.own &&
  a.local === b.local &&
  a.isPartial === b.isPartial &&
  hasSamePeers(a, b) &&
  isDeepStrictEqual(a.problems, b.problems);

const hasSamePeers = (a: NodePlan, { peers, difference }: NodePlan): boolean =>
  difference?.from === a.mark
    ? difference.gone.length === 0 && difference.come.length === 0
    : a.peers.size === peers.size &&
      peers.entries().every(([name, peer]) => a.peers.get(name) === peer);
