// An attachment's wiring as changes: ADD makes them, DEL takes them back.
import { type AttachmentKey, endingGroup, hostInterfaceName } from "../core/names.ts";
import type { Change, LinkSettings } from "../core/network.ts";
import { type WiredEnd, type WiredPair, type Wiring, hasHostPorts, wire } from "./wiring.ts";

/** Two ordered batches: one for the node's socket, one for the sandbox's. */
export interface AddPlan {
  readonly host: readonly Change[];
  readonly sandbox: readonly Change[];
}

/**
 * ADD as two batches. Order matters in both: the kernel takes a route only over a device that is up,
 * and `linkLocal` before the pod end is up keeps both without an address of the kernel's making: the host
 * end, up from the start, has no carrier until then. The on-link next hop needs the sandbox's local table,
 * which the address before it makes even where `lo` is down.
 *
 * rp_filter 1 on the host interface admits only sources that the routing table sends back to it: the
 * pod's own addresses. No forged IPv4 source leaves a pod. route_localnet lets the node ask for a hostPort
 * at 127.0.0.1, and the table's guard keeps the pod from asking there.
 */
export function planAdd(key: AttachmentKey, wiring: Wiring, sandboxFd: number): AddPlan {
  const pair = wire(key, wiring);
  const { host } = pair;
  return {
    host: [
      addPair(pair, wiring, { sandboxFd, isHostUp: true }),
      { kind: "set-link", device: host.device, settings: hostSettings(wiring) },
      ...contents(host),
    ],
    sandbox: podChanges(pair),
  };
}

/**
 * The pair alone, while nothing is known of its addresses: its host end is down, so that it is known for one
 * that nobody has use of when its ADD is killed before it has a record.
 */
export const planBeginning = (
  key: AttachmentKey,
  wiring: Wiring,
  sandboxFd: number,
): readonly Change[] => [addPair(wire(key, wiring), wiring, { sandboxFd, isHostUp: false })];

/** The rest of {@link planAdd}, after {@link planBeginning}. */
export function planRest(key: AttachmentKey, wiring: Wiring): AddPlan {
  const pair = wire(key, wiring);
  const { device, index } = pair.host;
  const settings = { ...hostSettings(wiring), isUp: true };
  return {
    host: [{ kind: "set-link", device, index, settings }, ...contents(pair.host)],
    sandbox: podChanges(pair),
  };
}

const addPair = (
  { host, pod }: WiredPair,
  { mtu, alias }: Wiring,
  how: { readonly sandboxFd: number; readonly isHostUp: boolean },
): Change => ({
  kind: "add-veth",
  host: { name: host.device, index: host.index, mac: host.mac },
  pod: { name: pod.device, index: pod.index, mac: pod.mac },
  mtu,
  ...(alias !== undefined && { alias }),
  ...how,
});

const hostSettings = (wiring: Wiring): LinkSettings => ({
  rpFilter: 1,
  linkLocal: false,
  ...(hasHostPorts(wiring, 4) && { routeLocalnet: true }),
});

const podChanges = ({ pod }: WiredPair): readonly Change[] => [
  { kind: "set-link", device: pod.device, index: pod.index, settings: { linkLocal: false } },
  { kind: "set-link", device: pod.device, settings: { isUp: true } },
  ...contents(pod),
];

/** What hangs on a pair that was made without, for its addresses were not known yet. */
export function planContents(key: AttachmentKey, wiring: Wiring): AddPlan {
  const { host, pod } = wire(key, wiring);
  const routed: Change = {
    kind: "set-link",
    device: host.device,
    settings: { routeLocalnet: true },
  };
  return {
    host: [...(hasHostPorts(wiring, 4) ? [routed] : []), ...contents(host)],
    sandbox: contents(pod),
  };
}

/**
 * What ends a pod's traffic at once: its interface down, with which the kernel withdraws the routes and
 * neighbors over it. The interface itself is removed afterwards, with others (Kernel.reap), by its group
 * also when whoever took it down was killed.
 */
export const planDel = (key: AttachmentKey): readonly Change[] => [
  {
    kind: "set-link",
    device: hostInterfaceName(key),
    settings: { isUp: false, group: endingGroup },
  },
];

/** What hangs on one end, in the order in which it can be made. */
export const contents = (end: Omit<WiredEnd, "index" | "peerIndex" | "mac">): readonly Change[] => [
  ...end.addresses.map((address): Change => ({ kind: "add-address", address })),
  // add, not replace: a route to this address that is not ours belongs to somebody, and stays.
  ...end.routes.map((route): Change => ({ kind: "add-route", route })),
  ...end.neighbors.map((neighbor): Change => ({ kind: "replace-neighbor", neighbor })),
  ...(end.shaping === undefined
    ? []
    : [{ kind: "replace-shaping", shaping: end.shaping } as const]),
];
