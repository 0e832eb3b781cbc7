import type { Ip } from "../core/address.ts";
import { isNodeRoute } from "../core/desired/node-state.ts";
import { routeProtocol, vxlanDevice } from "../core/names.ts";
import type { NetworkNamespace } from "../kernel/kernel.ts";

/** Where this node reaches the others, directly or through the tunnel, as the daemon told the kernel. */
export function peerAddresses(kernel: NetworkNamespace): readonly Ip[] {
  const direct = kernel
    .routes({ protocol: routeProtocol })
    .filter(isNodeRoute)
    .flatMap(({ gateway }) => gateway ?? []);
  const isTunnelled = kernel.link(vxlanDevice) !== undefined;
  const tunnelled = isTunnelled ? kernel.fdb(vxlanDevice) : [];
  return [...direct, ...tunnelled.map(({ destination }) => destination)];
}
