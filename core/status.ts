// What `/run/fairlead/status.sock` answers and `fairlead status` prints: one JSON object per
// connection. The daemon builds it; nothing in it is a secret.
import type { Cidr, Ip } from "./address.ts";
import type { PodName } from "./cni/pod-name.ts";

export interface StatusReport {
  /** Of the daemon that answers. */
  readonly version: string;
  /** The conflist is in place: pods can be attached. */
  readonly isReady: boolean;
  /** Why it is not ready, or what is wrong though it is; empty when all is well. */
  readonly problems: readonly StatusProblem[];
  readonly node: NodeStatus;
  readonly peers: readonly PeerStatus[];
  readonly source: SourceStatus;
  readonly reconcile: ReconcileStatus;
  /** The newest, 64 at most, oldest first. */
  readonly repairs: readonly RepairStatus[];
  /** This node's addresses, by pool and family; empty while nothing is known of them. */
  readonly pools: readonly PoolStatus[];
  /** Attachments and leases that their runtime forgot. */
  readonly sweep: SweepStatus;
  /** Records of attachments on this node. */
  readonly attachments: number;
  readonly dns: DnsStatus;
  /** Seconds since the daemon started. */
  readonly uptimeSeconds: number;
}

export interface StatusProblem {
  /** Which part says so. */
  readonly area:
    | "config"
    | "source"
    | "cluster"
    | "node"
    | "kernel"
    | "cni"
    | "attachments"
    | "dns"
    | "ipam";
  /** One sentence: what, which value, what is expected. */
  readonly message: string;
}

export interface NodeStatus {
  readonly name: string;
  /** The network's name, as in the conflist. */
  readonly network: string;
  /** Empty while the cluster has no Node object of this name. */
  readonly podCidrs: readonly Cidr[];
  readonly addresses: readonly Ip[];
  /** The underlay interface; absent while it is not known. */
  readonly interface?: string;
  /** Octets, for pods; absent while the underlay is not known. */
  readonly mtu?: number;
  readonly backend: "vxlan" | "direct" | "auto";
  readonly vni: number;
  readonly port: number;
}

/** One family of what a node has of a pool. */
export interface PoolStatus {
  readonly pool: string;
  readonly family: 4 | 6;
  /** The node's blocks. */
  readonly podCidrs: readonly Cidr[];
  /** How many addresses pods can have; exact below 2^53. */
  readonly size: number;
  readonly held: number;
  /** Freed, and given again only where there is no other. */
  readonly quarantined: number;
  /** Given to no pod; not in `size`. */
  readonly reserved: number;
}

export interface PeerStatus {
  readonly name: string;
  readonly podCidrs: readonly Cidr[];
  readonly addresses: readonly Ip[];
  /** How its pods are reached; `none` when they are not, and `problems` says why. */
  readonly path: "direct" | "vxlan" | "none";
}

export interface SourceStatus {
  readonly kind: "file" | "etcd" | "kubernetes";
  /** Where it reads. */
  readonly location: string;
  readonly revision: number;
  /** The first complete list is there; until then nothing is removed. */
  readonly isInSync: boolean;
}

export interface ReconcileStatus {
  /** Passes since the start. */
  readonly passes: number;
  /** Objects put back after somebody else changed them. */
  readonly repairs: number;
  readonly failures: number;
  /** RFC 3339; absent before the first pass. */
  readonly lastAt?: string;
  /** Duration of the last pass. */
  readonly lastMs?: number;
}

/** Something of ours that somebody else removed or altered, and that was put back. */
export interface RepairStatus {
  /** RFC 3339: when it was put back. */
  readonly at: string;
  /** As in the metric `fairlead_repairs_total`. */
  readonly kind: string;
  /** As `ip`, `bridge`, `nft` or `sysctl` would say it, or `nothing`. */
  readonly found: string;
  /** What was done about it, likewise. */
  readonly done: string;
  /** From the notification on; absent where a look found it. */
  readonly afterMs?: number;
}

export interface SweepStatus {
  /** RFC 3339: when the daemon last looked for them; absent before it did. */
  readonly lastAt?: string;
  /** Why the last look could not tell which sandboxes live. */
  readonly problem?: string;
  /** What it freed since it started: the newest, 64 at most, oldest first. */
  readonly freed: readonly FreedStatus[];
}

export interface FreedStatus {
  /** RFC 3339. */
  readonly at: string;
  readonly kind: "attachment" | "lease";
  readonly network: string;
  readonly containerId: string;
  readonly ifName: string;
  readonly addresses: readonly Ip[];
  readonly pod?: PodName;
  /** For people. */
  readonly why: string;
}

export interface DnsStatus {
  readonly isEnabled: boolean;
  readonly addresses: readonly Ip[];
  readonly domain: string;
  /** `address#port`, as used. */
  readonly upstreams: readonly string[];
  /** Absent where queries are not kept from others' rules. */
  readonly ahead?: DnsAheadStatus;
  readonly counters: Readonly<Record<string, number>>;
}

export interface DnsAheadStatus {
  /** Queries to these come to this resolver whatever rules others have; of all others, theirs decide. */
  readonly addresses: readonly Ip[];
  /** RFC 3339: since when. */
  readonly since: string;
  /** Why not all addresses are there. */
  readonly problem?: string;
  /** Services that have one of the addresses: who answers where this resolver does not. */
  readonly others: readonly OtherDnsStatus[];
}

export interface OtherDnsStatus {
  /** `namespace/name`. */
  readonly service: string;
  readonly readyEndpoints: number;
}
