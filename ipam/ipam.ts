// What attach asks of address management. ipam/store.ts keeps it on disk in host-local's layout.
import type { InterfaceCidr, Ip } from "../core/address.ts";
import type { AddressSpan } from "../core/address-span.ts";
import type { RangeConf } from "../core/cni/types.ts";
import type { PodName } from "../core/cni/pod-name.ts";
import type { AttachmentKey } from "../core/names.ts";
import type { LeaseDetails, SandboxName } from "./journal-event.ts";

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
  /** Frees what the attachment holds; nothing held is no failure. `why` is for people: default DEL. */
  release(key: AttachmentKey, signal: AbortSignal, why?: string): Promise<readonly Ip[]>;
  /** In the order of their addresses. */
  leases(network: string, signal?: AbortSignal): Promise<readonly Lease[]>;
  /**
   * Frees every lease of the network whose attachment `isValid` refuses; returns what was freed.
   * `why` is for people: default GC.
   */
  collect(
    network: string,
    isValid: (lease: Lease) => boolean,
    signal: AbortSignal,
    why?: string,
  ): Promise<readonly Lease[]>;
  /**
   * Frees leases that were taken over from another network and that it no longer has: their pods have
   * ended. Until then {@link collect} keeps them, whatever `isValid` says.
   */
  freeAdopted(network: string, signal: AbortSignal): Promise<readonly Lease[]>;
  /** The network's leases with all that is known of them, and what rests. */
  inventory(network: string, signal: AbortSignal): Promise<Inventory>;
  /** Networks of which anything is known beside the lease files, by name. */
  networks(): Promise<readonly string[]>;
  /**
   * Frees those of the leases that are still the same: given to the same attachment in the same sandbox,
   * at the same time. Returns them.
   */
  free(
    network: string,
    leases: readonly DetailedLease[],
    why: string,
    signal: AbortSignal,
  ): Promise<readonly DetailedLease[]>;
  /** Writes again what of the addresses nobody holds, for an attachment that lives and has them. */
  restore(lost: LostLease, signal: AbortSignal): Promise<Restoration>;
  /** How full each range set is: STATUS is not ready when one has no address left. */
  usage(network: string, offer: Offer, signal: AbortSignal): Promise<readonly SetUsage[]>;
  /**
   * Looks in connection tracking for up to `most` addresses whose rest is over, of all networks that
   * are in memory: only then can they be given again, while there are others. Returns how many.
   */
  proveRested(most: number, signal: AbortSignal): Promise<number>;
  /** The same, with its leases below another directory: `ipam.dataDir` of a configuration. */
  at(dataDir: string | undefined): Ipam;
}

/** An attachment that lives, with the addresses that it has. */
export interface LostLease extends Pick<ReserveRequest, "key" | "sandbox" | "pod"> {
  readonly addresses: readonly Ip[];
}

export interface Restoration {
  /** Held by nobody before. */
  readonly restored: readonly Ip[];
  /** Somebody else's now: left alone. */
  readonly taken: readonly TakenAddress[];
}

export interface TakenAddress {
  readonly address: Ip;
  /** Absent: its file cannot be read. */
  readonly holder?: Lease;
}

/** How full a range set is. */
export interface SetUsage {
  /** As text, for people. */
  readonly ranges: string;
  /** How many addresses the set can give. */
  readonly size: bigint;
  readonly held: number;
  /** Held though they are nobody's to have, reserved since or a gateway: not in `held`, nor in `size`. */
  readonly heldBesides: number;
  /** In quarantine: freed, and given again now only because there is no other. */
  readonly resting: number;
}

/** What addresses are given of: one of each range set. */
export interface Offer {
  readonly ranges: readonly (readonly RangeConf[])[];
  /** Never given, though they lie in a range. */
  readonly withheld?: readonly Withheld[];
  /** Whose the ranges are, where they are the node's. */
  readonly pool?: string;
  /** Where the round robin of the first set is kept, and those of the others after it; default 0. */
  readonly firstPlace?: number;
}

export interface Withheld extends AddressSpan {
  /** `reserved` by the operator; `overlay`: the VXLAN device has it; `used`: the node reaches it already. */
  readonly reason: "reserved" | "overlay" | "used";
}

export interface ReserveRequest extends Offer {
  readonly key: AttachmentKey;
  /** At most one per range set. */
  readonly requestedIps: readonly Ip[];
  /** Whom the addresses are for. */
  readonly sandbox?: SandboxName;
  readonly pod?: PodName;
  /** The pod gets the addresses that it had last, where they are free, and these are remembered. */
  readonly isSticky?: boolean;
  /** How long an address rests after it was freed. Default: not at all, as host-local's. */
  readonly quarantineMs?: number;
}

export interface Inventory {
  /** In the order of their addresses. */
  readonly leases: readonly DetailedLease[];
  /** Held, though nobody knows by whom: no file of ours or host-local's, but a directory, say. */
  readonly unreadable: readonly Ip[];
  /** In the order in which they were freed. */
  readonly resting: readonly RestingAddress[];
}

export interface DetailedLease extends Lease {
  /** Absent where another program gave the address. */
  readonly details?: LeaseDetails;
}

export interface RestingAddress {
  readonly address: Ip;
  /** Since it was freed, as far as known. */
  readonly forMs: number;
}
