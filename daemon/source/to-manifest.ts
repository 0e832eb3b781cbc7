// The cluster model → Kubernetes objects with the fields that are read of them: `readClusterObject()` gives
// the same back.
import { familyOf } from "../../core/address.ts";
import type { Endpoint, EndpointSlice, Node, Pod, Service } from "../../core/cluster/model.ts";
import { poolAnnotation } from "../../core/pool.ts";
import { attachmentObject } from "./attachment-object.ts";
import type { ClusterObject } from "./cluster-object.ts";
import { serviceNameLabel } from "./kubernetes-schema.ts";

type Manifest = Readonly<Record<string, unknown>>;

export function toManifest(value: ClusterObject): Manifest {
  switch (value.kind) {
    case "Node":
      return nodeManifest(value.object);
    case "Namespace":
      return { apiVersion: "v1", kind: "Namespace", metadata: metadataOf(value.object) };
    case "Service":
      return serviceManifest(value.object);
    case "EndpointSlice":
      return sliceManifest(value.object);
    case "Pod":
      return podManifest(value.object);
    case "Attachment":
      return attachmentObject(value.object);
  }
}

function metadataOf(object: { name: string; namespace?: string; pool?: string }): Manifest {
  const { name, namespace, pool } = object;
  return {
    name,
    ...(namespace !== undefined && { namespace }),
    ...(pool !== undefined && { annotations: { [poolAnnotation]: pool } }),
  };
}

const nodeManifest = ({ name, addresses, podCidrs, createdAtMs }: Node): Manifest => ({
  apiVersion: "v1",
  kind: "Node",
  metadata: {
    name,
    ...(createdAtMs !== undefined && { creationTimestamp: new Date(createdAtMs).toISOString() }),
  },
  spec: { podCIDRs: podCidrs },
  status: { addresses: addresses.map((address) => ({ type: "InternalIP", address })) },
});

const serviceManifest = (service: Service): Manifest => {
  const { type, clusterIps, isHeadless, externalName, ports } = service;
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: metadataOf(service),
    spec: {
      type,
      clusterIPs: isHeadless ? ["None"] : clusterIps,
      ...(externalName !== undefined && { externalName }),
      ports: ports.map(portManifest),
    },
  };
};

const portManifest = <T extends { readonly protocol: string }>({ protocol, ...rest }: T) => ({
  ...rest,
  protocol: protocol.toUpperCase(),
});

function sliceManifest({
  namespace,
  name,
  serviceName,
  ports,
  endpoints,
}: EndpointSlice): Manifest {
  const [first] = endpoints.flatMap(({ addresses }) => addresses);
  return {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: { name, namespace, labels: { [serviceNameLabel]: serviceName } },
    addressType: first !== undefined && familyOf(first) === 6 ? "IPv6" : "IPv4",
    ports: ports.map(portManifest),
    endpoints: endpoints.map(endpointManifest),
  };
}

const endpointManifest = ({ isReady, podName, ...rest }: Endpoint): Manifest => ({
  ...rest,
  conditions: { ready: isReady },
  ...(podName !== undefined && { targetRef: { kind: "Pod", name: podName } }),
});

const podManifest = (pod: Pod): Manifest => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: metadataOf(pod),
  spec: {
    ...(pod.nodeName !== undefined && { nodeName: pod.nodeName }),
    ...(pod.isHostNetwork && { hostNetwork: true }),
  },
  status: { podIPs: pod.ips.map((ip) => ({ ip })) },
});
