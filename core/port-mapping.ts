import type { Ip } from "./address.ts";

export const transportProtocols = ["tcp", "udp", "sctp"] as const;
export type TransportProtocol = (typeof transportProtocols)[number];

/** A port of the node that leads to a port of the pod: CNI's capability `portMappings`. */
export interface PortMapping {
  readonly protocol: TransportProtocol;
  /** The only address of the node that it is at; absent: all, of both families. 0.0.0.0 and :: are all of one. */
  readonly hostIp?: Ip;
  readonly hostPort: number;
  readonly containerPort: number;
}
