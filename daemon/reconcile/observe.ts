// What is in the kernel of the things that the daemon looks after.
import { familyOf, type Ip } from "../../core/address.ts";
import { isNodeRoute, type ObservedNode } from "../../core/desired/node-state.ts";
import type { KeyedNode } from "../../core/diff.ts";
import { isUnderlayCandidate, type LinkAddresses } from "../../core/desired/underlay.ts";
import { routeProtocol, vxlanDevice } from "../../core/names.ts";
import { fdbKind, neighborKind, type ObjectKind, routeKind } from "../../core/object-kind.ts";
import type { NetworkNamespace } from "../../kernel/kernel.ts";
import type { Known } from "../../kernel/known.ts";

/** @param target what is there as it says is given as its own objects: read anew, a cluster's are megabytes. */
export function observeNode(kernel: NetworkNamespace, target?: KeyedNode): ObservedNode {
  const link = kernel.link(vxlanDevice);
  const filter = { protocol: routeProtocol };
  const routes = kernel
    .routes(filter, target && sameIn(target.routes, routeKind))
    .filter(isNodeRoute);
  if (link === undefined) return { addresses: [], neighbors: [], fdb: [], routes };
  return {
    link,
    addresses: kernel.addresses(vxlanDevice),
    neighbors: kernel.neighbors(vxlanDevice, target && sameIn(target.neighbors, neighborKind)),
    fdb: kernel.fdb(vxlanDevice, target && sameIn(target.fdb, fdbKind)),
    routes,
  };
}

const sameIn =
  <T>(wanted: ReadonlyMap<string, T>, { keyOf, isSame }: ObjectKind<T>): Known<T> =>
  (object) => {
    const want = wanted.get(keyOf(object));
    return want !== undefined && isSame(want, object) ? want : object;
  };

/** The links that may carry the underlay, with their addresses; pods' host interfaces are not asked. */
export const observeUnderlay = (kernel: NetworkNamespace): readonly LinkAddresses[] =>
  kernel
    .links()
    .filter(isUnderlayCandidate)
    .map((link) => ({ link, addresses: kernel.addresses(link.name) }));

/**
 * About as many as the kernel has ways to: each has a tunnel's end or a gateway, however many blocks lead
 * there. Of gateways those of the family that has more.
 */
export function countPeers(kernel: NetworkNamespace): number {
  const gateways = { 4: new Set<Ip>(), 6: new Set<Ip>() };
  for (const route of kernel.routes({ protocol: routeProtocol })) {
    const { gateway, device } = route;
    if (gateway === undefined || device === vxlanDevice || !isNodeRoute(route)) continue;
    gateways[familyOf(gateway)].add(gateway);
  }
  const tunnels = kernel.link(vxlanDevice) === undefined ? [] : kernel.fdb(vxlanDevice);
  return new Set(tunnels.map(({ mac }) => mac)).size + Math.max(gateways[4].size, gateways[6].size);
}
