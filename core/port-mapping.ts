import { type Family, type Ip, familyOf } from "./address.ts";

export const transportProtocols = ["tcp", "udp", "sctp"] as const;
export type TransportProtocol = (typeof transportProtocols)[number];

/** A port of the node that leads to a port of the pod: CNI's capability `portMappings`. */
export interface PortMapping {
  readonly protocol: TransportProtocol;
  /** The node's address that it is at. 0.0.0.0 and ::: all of one family; absent: of both. */
  readonly hostIp?: Ip;
  readonly hostPort: number;
  readonly containerPort: number;
}

/** Whether the mapping is for packets of this family. */
export const isOfFamily = ({ hostIp }: PortMapping, family: Family): boolean =>
  hostIp === undefined || familyOf(hostIp) === family;

/** The only address that the mapping is for. */
export const oneAddressOf = ({ hostIp }: PortMapping): Ip | undefined =>
  hostIp === "0.0.0.0" || hostIp === "::" ? undefined : hostIp;

/** Whether two mappings claim the same port of the node, in one family at least. */
export const isSamePort = (a: PortMapping, b: PortMapping): boolean =>
  a.protocol === b.protocol &&
  a.hostPort === b.hostPort &&
  oneAddressOf(a) === oneAddressOf(b) &&
  ([4, 6] as const).some((family) => isOfFamily(a, family) && isOfFamily(b, family));
