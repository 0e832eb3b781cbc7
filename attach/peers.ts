import type { Ip } from "../core/address.ts";
import type { Clock } from "../core/clock.ts";
import { isNodeRoute } from "../core/desired/node-state.ts";
import { routeProtocol, vxlanDevice } from "../core/names.ts";
import type { NetworkNamespace } from "../kernel/kernel.ts";

interface Seen {
  readonly atMs: number;
  readonly addresses: readonly Ip[];
}

// The kernel gives the pods' routes along with the peers': with a thousand pods that is 20 ms, which a burst
// of requests is not to pay each by itself.
const keptMs = 5_000;
const seen = new WeakMap<NetworkNamespace, Seen>();

/** Where this node reaches the others, as the kernel had it within the last five seconds. */
export function peerAddresses(kernel: NetworkNamespace, clock: Clock): readonly Ip[] {
  const nowMs = clock.monotonicMs();
  const known = seen.get(kernel);
  if (known !== undefined && nowMs - known.atMs < keptMs) return known.addresses;
  const addresses = readPeerAddresses(kernel);
  seen.set(kernel, { atMs: nowMs, addresses });
  return addresses;
}

/** Directly or through the tunnel, as the daemon told the kernel. */
function readPeerAddresses(kernel: NetworkNamespace): readonly Ip[] {
  const direct = kernel
    .routes({ protocol: routeProtocol })
    .filter(isNodeRoute)
    .flatMap(({ gateway }) => gateway ?? []);
  const isTunnelled = kernel.link(vxlanDevice) !== undefined;
  const tunnelled = isTunnelled ? kernel.fdb(vxlanDevice) : [];
  return [...direct, ...tunnelled.map(({ destination }) => destination)];
}
