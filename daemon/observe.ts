// What is in the kernel of the things that the daemon looks after.
import { familyOf } from "../core/address.ts";
import { isNodeRoute, type ObservedNode } from "../core/desired/node-state.ts";
import { isUnderlayCandidate, type LinkAddresses } from "../core/desired/underlay.ts";
import { routeProtocol, vxlanDevice } from "../core/names.ts";
import type { NetworkNamespace } from "../kernel/kernel.ts";

export function observeNode(kernel: NetworkNamespace): ObservedNode {
  const link = kernel.link(vxlanDevice);
  const routes = kernel.routes({ protocol: routeProtocol }).filter(isNodeRoute);
  if (link === undefined) return { addresses: [], neighbors: [], fdb: [], routes };
  return {
    link,
    addresses: kernel.addresses(vxlanDevice),
    neighbors: kernel.neighbors(vxlanDevice),
    fdb: kernel.fdb(vxlanDevice),
    routes,
  };
}

/** The links that may carry the underlay, with their addresses; pods' host interfaces are not asked. */
export const observeUnderlay = (kernel: NetworkNamespace): readonly LinkAddresses[] =>
  kernel
    .links()
    .filter(isUnderlayCandidate)
    .map((link) => ({ link, addresses: kernel.addresses(link.name) }));

/** About as many as there are peers: of the family that has more, and none of the node's own. */
export function countPeerRoutes(kernel: NetworkNamespace): number {
  const counts = { 4: 0, 6: 0 };
  for (const route of kernel.routes({ protocol: routeProtocol })) {
    if (isNodeRoute(route) && route.type === "unicast") counts[familyOf(route.destination)]++;
  }
  return Math.max(counts[4], counts[6]);
}
