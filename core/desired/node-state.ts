// What one node's kernel holds for the network, apart from its pods: desired and observed.
import { isPodHostInterface, type IfName, routeProtocol } from "../names.ts";
import type { Mac } from "../address.ts";
import type { AlteredOption } from "../device-option.ts";
import type {
  FdbEntry,
  InterfaceAddress,
  Link,
  Neighbor,
  Route,
  VxlanParameters,
} from "../network.ts";

export interface DesiredVxlan {
  readonly name: IfName;
  readonly mac: Mac;
  readonly mtu: number;
  readonly alias: string;
  readonly vxlan: VxlanParameters;
  /** Options that are wanted otherwise than on a new device. */
  readonly altered: readonly AlteredOption[];
}

export interface DesiredNode {
  /** Absent: no VXLAN device, and so none of its addresses, neighbors and entries. */
  readonly vxlan?: DesiredVxlan;
  readonly addresses: readonly InterfaceAddress[];
  readonly neighbors: readonly Neighbor[];
  readonly fdb: readonly FdbEntry[];
  readonly routes: readonly Route[];
}

export interface ObservedNode {
  /** Whatever has the name of our VXLAN device. */
  readonly link?: Link;
  /** Of that device, as are neighbors and fdb. */
  readonly addresses: readonly InterfaceAddress[];
  readonly neighbors: readonly Neighbor[];
  readonly fdb: readonly FdbEntry[];
  /** Those that {@link isNodeRoute} takes. */
  readonly routes: readonly Route[];
}

/** Ours, and not a pod's: those belong to attach. */
export const isNodeRoute = (route: Route): boolean =>
  route.protocol === routeProtocol && !isPodHostInterface(route.device);

export const emptyNode: DesiredNode = { addresses: [], neighbors: [], fdb: [], routes: [] };

/** All of the parts as one; the first has the device. */
export const joinDesired = (
  first: DesiredNode,
  rest: Iterable<Pick<DesiredNode, "neighbors" | "fdb" | "routes">>,
): DesiredNode => {
  const parts = [...rest];
  return {
    ...first,
    neighbors: [...first.neighbors, ...parts.flatMap(({ neighbors }) => neighbors)],
    fdb: [...first.fdb, ...parts.flatMap(({ fdb }) => fdb)],
    routes: [...first.routes, ...parts.flatMap(({ routes }) => routes)],
  };
};
