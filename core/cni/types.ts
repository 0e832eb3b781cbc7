// The CNI specification's request and result, parsed. Field names follow the specification.
import type { Cidr, InterfaceCidr, Ip, Mac } from "../address.ts";
import type { AttachmentKey } from "../names.ts";
import type { PortMapping } from "../port-mapping.ts";

/** Protocol versions, oldest first; the plugin answers in exactly the one it is asked in. */
export const cniVersions = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] as const;
export type CniVersion = (typeof cniVersions)[number];

export type CniCommand = "ADD" | "DEL" | "CHECK" | "GC" | "STATUS" | "VERSION";

export interface Dns {
  readonly nameservers?: readonly string[];
  readonly domain?: string;
  readonly search?: readonly string[];
  readonly options?: readonly string[];
}

export interface CniInterface {
  readonly name: string;
  readonly mac?: Mac;
  readonly mtu?: number;
  /** Path of the network namespace as the runtime gave it; absent on the host. */
  readonly sandbox?: string;
  readonly socketPath?: string;
  readonly pciID?: string;
}

export interface CniIp {
  readonly address: InterfaceCidr;
  readonly gateway?: Ip;
  /** Index into `interfaces`; 0 is a value. */
  readonly interface?: number;
}

export interface CniRoute {
  readonly dst: InterfaceCidr;
  readonly gw?: Ip;
  readonly mtu?: number;
  readonly advmss?: number;
  readonly priority?: number;
  readonly table?: number;
  readonly scope?: number;
}

/** A result in the newest shape; core/cni/result converts to and from the older ones. */
export interface CniResult {
  readonly interfaces: readonly CniInterface[];
  readonly ips: readonly CniIp[];
  readonly routes: readonly CniRoute[];
  readonly dns: Dns;
}

/** Plugin configuration of one request (specification: "Plugin configuration objects"). */
export interface NetConf {
  readonly cniVersion: CniVersion;
  readonly name: string;
  readonly type: string;
  /** Octets; absent: what the daemon decided. */
  readonly mtu?: number;
  readonly ipam: IpamConf;
  /** Absent: no limit. */
  readonly bandwidth?: Bandwidth;
  /** Present: replaces what the daemon or IPAM would say. */
  readonly dns?: Dns;
  /** The runtime's word on it: before all others. */
  readonly runtimeDns?: Dns;
  /** Ports of the node that lead to the pod. */
  readonly portMappings?: readonly PortMapping[];
  /** The pod interface's; absent: derived from the attachment. */
  readonly mac?: Mac;
  /** Names of the pod on this network, in lower case: each one DNS label. */
  readonly aliases?: readonly string[];
  readonly prevResult?: CniResult;
  /** GC: present, possibly empty, when the runtime sent a list; absent when it told us nothing. */
  readonly validAttachments?: readonly { readonly containerId: string; readonly ifName: string }[];
  /** The whole request as received, for a delegated IPAM plugin. */
  readonly raw: string;
}

/** Limits of an attachment's traffic; ingress is what comes to the pod. */
export interface Bandwidth {
  readonly ingress?: BandwidthLimit;
  readonly egress?: BandwidthLimit;
}

export interface BandwidthLimit {
  /** Bits a second, 8 at least. */
  readonly rate: number;
  /** Bits. */
  readonly burst: number;
}

/** One range of addresses, as host-local's configuration has it; bounds inclusive. */
export interface RangeConf {
  readonly subnet: Cidr;
  readonly rangeStart?: Ip;
  readonly rangeEnd?: Ip;
  readonly gateway?: Ip;
}

export interface IpamConf {
  /** `fairlead-ipam`: ours. Anything else is a plugin to delegate to. */
  readonly type: string;
  /** Range sets: one address is given per set. Empty: the node's pod CIDRs. */
  readonly ranges: readonly (readonly RangeConf[])[];
  /** The pool whose addresses are given where nothing else chooses one. */
  readonly pool?: string;
  readonly routes: readonly CniRoute[];
  readonly dataDir?: string;
  readonly resolvConf?: string;
  /** How long a freed address rests; absent: as the daemon says. */
  readonly quarantineSeconds?: number;
  /** Whether a pod gets the address that it had last; absent: as the daemon says. */
  readonly isSticky?: boolean;
  /** Requested addresses, from every channel, in host-local's order. */
  readonly requestedIps: readonly Ip[];
}

/** The caller's environment: a delegated plugin gets it again, and its `CNI_PATH` says where it is. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** What CNI_ARGS says, asked by name. */
export type CniArgs = Pick<ReadonlyMap<string, string>, "get">;

/** ADD, CHECK or DEL, validated. */
export interface AttachmentRequest {
  readonly key: AttachmentKey;
  /** CNI_NETNS as given; empty only on DEL. */
  readonly netns: string;
  /**
   * The file to open as the sandbox, where that is not `netns`: the daemon has the descriptor that
   * the launcher opened, in the runtime's mount namespace. Results and messages still say `netns`.
   */
  readonly netnsFile?: string;
  /** CNI_ARGS, unknown keys kept. */
  readonly args: ReadonlyMap<string, string>;
  readonly conf: NetConf;
  readonly environment: Environment;
}

/** GC or STATUS, validated. */
export interface NetworkRequest {
  readonly conf: NetConf;
  readonly environment: Environment;
}

/** What the dispatcher calls; each throws CniError. A repeated request gives the same answer. */
export interface CniHandlers {
  add(request: AttachmentRequest, signal: AbortSignal): Promise<CniResult>;
  del(request: AttachmentRequest, signal: AbortSignal): Promise<void>;
  check(request: AttachmentRequest, signal: AbortSignal): Promise<void>;
  gc(request: NetworkRequest, signal: AbortSignal): Promise<void>;
  status(request: NetworkRequest, signal: AbortSignal): Promise<void>;
}

/** What the plugin process does: exit status and the bytes of both streams. */
export interface CniReply {
  readonly exitStatus: number;
  readonly stdout: string;
  readonly stderr: string;
}
