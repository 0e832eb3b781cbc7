// What is in the kernel of the things that the daemon looks after.
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
