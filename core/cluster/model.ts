// The cluster as fairlead sees it: Kubernetes' objects, cut down to what is used. Every source
// (files, the Kubernetes API, later etcd) gives the same Snapshot.
import type { Cidr, Ip } from "../address.ts";
import type { Attachment } from "./attachment.ts";

/** A machine of the cluster: Node `status.addresses` (InternalIP) and `spec.podCIDRs`. */
export interface Node {
  readonly name: string;
  /** Underlay addresses, at most one per family. */
  readonly addresses: readonly Ip[];
  /** Any number of each family; pods get addresses of each family's in this order. */
  readonly podCidrs: readonly Cidr[];
  /** `metadata.creationTimestamp`, milliseconds since 1970: the older of two claims wins. */
  readonly createdAtMs?: number;
}

export interface Namespace {
  readonly name: string;
  /** The annotation `fairlead.dev/pool`: whose addresses its pods get. */
  readonly pool?: string;
}

export type Protocol = "tcp" | "udp" | "sctp";

export interface ServicePort {
  readonly name?: string;
  readonly protocol: Protocol;
  readonly port: number;
}

export interface Service {
  readonly namespace: string;
  readonly name: string;
  readonly type: "ClusterIP" | "NodePort" | "LoadBalancer" | "ExternalName";
  /** Empty for a headless and for an ExternalName service. */
  readonly clusterIps: readonly Ip[];
  /** `clusterIP: None`. */
  readonly isHeadless: boolean;
  readonly externalName?: string;
  readonly ports: readonly ServicePort[];
}

export interface Endpoint {
  readonly addresses: readonly Ip[];
  /** `conditions.ready`; absent there means ready. */
  readonly isReady: boolean;
  readonly hostname?: string;
  readonly nodeName?: string;
  /** `targetRef.name` when it is a Pod. */
  readonly podName?: string;
}

export interface EndpointPort {
  readonly name?: string;
  readonly protocol: Protocol;
  /** Absent: all ports. */
  readonly port?: number;
}

export interface EndpointSlice {
  readonly namespace: string;
  readonly name: string;
  /** The label `kubernetes.io/service-name`. */
  readonly serviceName: string;
  readonly ports: readonly EndpointPort[];
  readonly endpoints: readonly Endpoint[];
}

export interface Pod {
  readonly namespace: string;
  readonly name: string;
  readonly ips: readonly Ip[];
  readonly nodeName?: string;
  readonly isHostNetwork: boolean;
  /** The annotation `fairlead.dev/pool`. */
  readonly pool?: string;
}

/** An immutable copy of the cluster. Keys: the name, or `namespace/name`. */
export interface Snapshot {
  /** Grows with every change. */
  readonly revision: number;
  /** The source has delivered its first complete list: only then may anything be removed. */
  readonly isInSync: boolean;
  /** Not of the source but of the node's own copy: complete, as the cluster was at some earlier time. */
  readonly isRemembered?: boolean;
  readonly nodes: ReadonlyMap<string, Node>;
  readonly namespaces: ReadonlyMap<string, Namespace>;
  readonly services: ReadonlyMap<string, Service>;
  readonly endpointSlices: ReadonlyMap<string, EndpointSlice>;
  readonly pods: ReadonlyMap<string, Pod>;
  /** By id: other nodes' attachments, from a source that carries them. */
  readonly attachments?: ReadonlyMap<string, Attachment>;
}

export const emptySnapshot: Snapshot = {
  revision: 0,
  isInSync: false,
  nodes: new Map(),
  namespaces: new Map(),
  services: new Map(),
  endpointSlices: new Map(),
  pods: new Map(),
};

export const objectKey = (namespace: string, name: string): string => `${namespace}/${name}`;

/** What {@link objectKey} was made of: neither has a slash in it. */
export function partsOfKey(key: string): { readonly namespace: string; readonly name: string } {
  const [namespace = "", name = ""] = key.split("/");
  return { namespace, name };
}
