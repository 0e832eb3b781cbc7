import { type Cidr, cidrsOverlap } from "../../core/address.ts";
import { objectKey, type Snapshot } from "../../core/cluster/model.ts";
import type { DesiredNode } from "../../core/desired/node-state.ts";
import type { LocalPlan, NodePlan } from "../../core/desired/plan.ts";
import type { NodeFacts } from "../../core/node-facts.ts";
import type { Config } from "../config/config.ts";
import type { NodeState } from "../reconcile/node-state.ts";

/** What the plugin needs to know of this node, from what the daemon found out. */
export const nodeFactsOf = (
  { nodeName, network, dns }: Config,
  { node, underlay, mtu }: LocalPlan,
  { desired, snapshot }: { readonly desired: DesiredNode; readonly snapshot: Snapshot },
  bootId: string,
): NodeFacts => ({
  version: 1,
  nodeName,
  network: network.name,
  podCidrs: node.podCidrs,
  ...(network.pools.length > 0 && {
    pools: network.pools.map(({ name, cidrs }) => ({ name, cidrs })),
  }),
  clusterCidrs: network.podCidrs,
  serviceCidrs: network.serviceCidrs,
  ...poolChoices(nodeName, network.pools, snapshot),
  ...(network.ipam.reserved.length > 0 && { reserved: network.ipam.reserved }),
  quarantineSeconds: network.ipam.quarantineSeconds,
  ...(network.ipam.sticky && { isSticky: true }),
  nodeAddresses: underlay.addresses,
  mtu,
  ...(desired.vxlan !== undefined && { overlayDevice: desired.vxlan.name }),
  dns: dns.isEnabled
    ? {
        nameservers: dns.addresses,
        domain: dns.domain,
        search: [`svc.${dns.domain}`, dns.domain],
        // As kubelet has it: "db.demo" is tried below the search domains first.
        options: ["ndots:5"],
      }
    : { nameservers: [], domain: dns.domain, search: [], options: [] },
  bootId,
});

export interface FactsContext {
  readonly config: Config;
  readonly bootId: string;
  /** What is told until now, by this daemon or, in this boot, one before it. */
  readonly known: () => NodeFacts | undefined;
}

/** What is to be told after a pass; undefined: nothing new. */
export function factsAfter(
  { plan, snapshot, isProgrammed }: NodeState,
  { config, bootId, known }: FactsContext,
): NodeFacts | undefined {
  const { local, own } = plan;
  if (local !== undefined) {
    return isProgrammed
      ? nodeFactsOf(config, local, { desired: own, snapshot }, bootId)
      : undefined;
  }
  const told = snapshot.isInSync ? known() : undefined;
  const left = told && withoutLostBlocks(told, plan);
  return left === told ? undefined : left;
}

/**
 * What the plugin may go on with once the cluster has no blocks for this node, or has given them to others:
 * a new pod would get an address that another node's pod has, or will have.
 */
export function withoutLostBlocks(facts: NodeFacts, { isBlockless, peers }: NodePlan): NodeFacts {
  const others = Array.from(peers.values(), ({ node }) => node.podCidrs).flat();
  const isLost = (own: Cidr): boolean =>
    isBlockless === true || others.some((other) => cidrsOverlap(own, other));
  const podCidrs = facts.podCidrs.filter((own) => !isLost(own));
  return podCidrs.length === facts.podCidrs.length ? facts : { ...facts, podCidrs };
}

type PoolChoices = Pick<NodeFacts, "namespacePools" | "podPools">;

// The same cluster at every pass but those after a change.
const chosen = new WeakMap<Snapshot, PoolChoices>();

// Also where no pools are configured: an annotation that names one is then a mistake to be told.
function poolChoices(
  nodeName: string,
  pools: Config["network"]["pools"],
  snapshot: Snapshot,
): PoolChoices {
  const known = chosen.get(snapshot);
  if (known !== undefined) return known;
  const listed = pools.flatMap((pool) =>
    pool.namespaces.map((namespace): [string, string] => [namespace, pool.name]),
  );
  const annotated = [...snapshot.namespaces.values()].flatMap(({ name, pool }) =>
    pool === undefined ? [] : [[name, pool] as const],
  );
  const pods = [...snapshot.pods.values()].flatMap((pod) =>
    pod.pool === undefined || (pod.nodeName ?? nodeName) !== nodeName
      ? []
      : [[objectKey(pod.namespace, pod.name), pod.pool] as const],
  );
  const namespacePools = Object.fromEntries([...listed, ...annotated]);
  const choices = {
    ...(listed.length + annotated.length > 0 && { namespacePools }),
    ...(pods.length > 0 && { podPools: Object.fromEntries(pods) }),
  };
  chosen.set(snapshot, choices);
  return choices;
}
