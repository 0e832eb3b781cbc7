// The objects of the contract suite of cluster sources, and what each of them is in the snapshot.
import type { EndpointSlice, Namespace, Node, Pod, Service } from "../../core/cluster/model.ts";
import { cidr, ip } from "./builders.ts";
import type { KubernetesObject } from "./source-world.ts";

/** One of them as a manifest has it, and as the snapshot does. */
interface Example<T> {
  readonly object: KubernetesObject;
  readonly model: T;
}

export function nodeExample(name: string, index: number): Example<Node> {
  return {
    object: {
      apiVersion: "v1",
      kind: "Node",
      metadata: { name, creationTimestamp: "2026-01-31T12:00:00Z" },
      spec: { podCIDR: `10.244.${index}.0/24`, podCIDRs: [`10.244.${index}.0/24`] },
      status: {
        addresses: [
          { type: "InternalIP", address: `192.0.2.${index}` },
          { type: "Hostname", address: name },
        ],
      },
    },
    model: {
      name,
      addresses: [ip(`192.0.2.${index}`)],
      podCidrs: [cidr(`10.244.${index}.0/24`)],
      createdAtMs: Date.parse("2026-01-31T12:00:00Z"),
    },
  };
}

/** @param pool the annotation's value; none without it. */
export const namespaceExample = (name: string, pool?: string): Example<Namespace> => ({
  object: {
    apiVersion: "v1",
    kind: "Namespace",
    metadata: {
      name,
      ...(pool === undefined ? {} : { annotations: { "fairlead.dev/pool": pool } }),
    },
  },
  model: { name, ...(pool === undefined ? {} : { pool }) },
});

export const serviceExample = (name: string, port: number): Example<Service> => ({
  object: {
    apiVersion: "v1",
    kind: "Service",
    metadata: { namespace: "demo", name },
    spec: {
      type: "ClusterIP",
      clusterIP: "10.96.0.80",
      clusterIPs: ["10.96.0.80"],
      ports: [{ name: "http", protocol: "TCP", port }],
    },
  },
  model: {
    namespace: "demo",
    name,
    type: "ClusterIP",
    clusterIps: [ip("10.96.0.80")],
    isHeadless: false,
    ports: [{ name: "http", protocol: "tcp", port }],
  },
});

/** Of the service `web`; ready, one endpoint for each address. */
export const sliceExample = (
  name: string,
  ...addresses: readonly string[]
): Example<EndpointSlice> => ({
  object: {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: { namespace: "demo", name, labels: { "kubernetes.io/service-name": "web" } },
    addressType: "IPv4",
    ports: [{ name: "http", protocol: "TCP", port: 8080 }],
    endpoints: addresses.map((address) => ({
      addresses: [address],
      conditions: { ready: true },
      nodeName: "node-a",
      targetRef: { kind: "Pod", namespace: "demo", name: "web-1" },
    })),
  },
  model: {
    namespace: "demo",
    name,
    serviceName: "web",
    ports: [{ name: "http", protocol: "tcp", port: 8080 }],
    endpoints: addresses.map((address) => ({
      addresses: [ip(address)],
      isReady: true,
      nodeName: "node-a",
      podName: "web-1",
    })),
  },
});

export const podExample = (name: string, address: string): Example<Pod> => ({
  object: {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { namespace: "demo", name },
    spec: { nodeName: "node-a", containers: [{ name: "main", image: "none" }] },
    status: { phase: "Running", podIP: address, podIPs: [{ ip: address }] },
  },
  model: {
    namespace: "demo",
    name,
    ips: [ip(address)],
    nodeName: "node-a",
    isHostNetwork: false,
  },
});
