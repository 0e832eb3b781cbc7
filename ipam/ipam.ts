// What attach asks of address management. ipam/store.ts keeps it on disk in host-local's layout.
import type { Cidr, InterfaceCidr, Ip } from "../core/address.ts";
import type { RangeConf } from "../core/cni/types.ts";
import type { AttachmentKey } from "../core/names.ts";

/** One address held by an attachment. */
export interface Lease {
  readonly address: Ip;
  readonly containerId: string;
  /** Empty in host-local's oldest file format, which has the container id alone. */
  readonly ifName: string;
}

export interface ReservedAddress {
  readonly address: InterfaceCidr;
  readonly gateway: Ip;
}

/**
 * Who holds which address, on one node. Every method takes the network's lock, without blocking and
 * up to a deadline, then throws CniError tryAgainLater.
 */
export interface Ipam {
  /**
   * One address per range set, in their order. Repeated for the same attachment: the same addresses.
   * Throws CniError addressesExhausted naming the range, or invalidConfig for a requested address that
   * cannot be given; then nothing new is held.
   */
  reserve(request: ReserveRequest, signal: AbortSignal): Promise<readonly ReservedAddress[]>;
  /** Frees what the attachment holds; nothing held is no failure. */
  release(key: AttachmentKey, signal: AbortSignal): Promise<readonly Ip[]>;
  leases(network: string): Promise<readonly Lease[]>;
  /** Frees every lease of the network whose attachment `isValid` refuses; returns what was freed. */
  collect(
    network: string,
    isValid: (lease: Lease) => boolean,
    signal: AbortSignal,
  ): Promise<readonly Lease[]>;
}

export interface ReserveRequest {
  readonly key: AttachmentKey;
  readonly ranges: readonly (readonly RangeConf[])[];
  /** At most one per range set. */
  readonly requestedIps: readonly Ip[];
}

/** The node's own ranges: one set per pod CIDR's family, the first address kept for `fl-vxlan`. */
export type PodCidrs = readonly Cidr[];
