// A large cluster as its API has it: what a Node carries beside what is used of it is most of the bytes.
import type { KubernetesObject } from "../../test/support/source-world.ts";

export interface Scale {
  readonly nodes: number;
  readonly services: number;
  readonly endpointsPerService: number;
  readonly pods: number;
}

export const large: Scale = { nodes: 5000, services: 10_000, endpointsPerService: 5, pods: 30 };

const images = Array.from({ length: 30 }, (_, i) => ({
  names: [
    `registry.example/team/program-${i}@sha256:${"0123456789abcdef".repeat(4)}`,
    `registry.example/team/program-${i}:v1.${i}.0`,
  ],
  sizeBytes: 100_000_000 + i,
}));

const managedFields = (manager: string): object => ({
  manager,
  operation: "Update",
  apiVersion: "v1",
  time: "2026-01-31T12:00:00Z",
  fieldsType: "FieldsV1",
  fieldsV1: Object.fromEntries(
    Array.from({ length: 20 }, (_, i) => [`f:field-number-${i}`, { ".": {}, "f:value": {} }]),
  ),
});

const octets = (index: number): string => `${index >> 8}.${index & 255}`;

export const nodeObject = (index: number): KubernetesObject => ({
  apiVersion: "v1",
  kind: "Node",
  metadata: {
    name: `node-${index}`,
    creationTimestamp: "2026-01-31T12:00:00Z",
    labels: { "kubernetes.io/hostname": `node-${index}`, "kubernetes.io/os": "linux" },
    managedFields: [managedFields("kubelet"), managedFields("kube-controller-manager")],
  },
  spec: { podCIDR: `10.${octets(index)}.0/24`, podCIDRs: [`10.${octets(index)}.0/24`] },
  status: {
    addresses: [
      { type: "InternalIP", address: `172.20.${octets(index)}` },
      { type: "Hostname", address: `node-${index}` },
    ],
    conditions: ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"].map((type) => ({
      type,
      status: "False",
      lastHeartbeatTime: "2026-01-31T12:00:00Z",
      lastTransitionTime: "2026-01-31T12:00:00Z",
      reason: `KubeletHas${type}`,
      message: "the kubelet has something to say about this",
    })),
    images,
  },
});

const metadata = (name: string, more: object = {}) => ({
  namespace: `ns-${Number(name.split("-")[1]) % 100}`,
  name,
  creationTimestamp: "2026-01-31T12:00:00Z",
  managedFields: [managedFields("kubectl")],
  ...more,
});

export const serviceObject = (index: number, port = 80): KubernetesObject => ({
  apiVersion: "v1",
  kind: "Service",
  metadata: metadata(`service-${index}`),
  spec: {
    type: "ClusterIP",
    clusterIP: `172.16.${octets(index)}`,
    clusterIPs: [`172.16.${octets(index)}`],
    selector: { app: `service-${index}` },
    ports: [{ name: "http", protocol: "TCP", port, targetPort: 8080 }],
  },
});

export const sliceObject = (index: number, { nodes, endpointsPerService }: Scale, round = 0) => ({
  apiVersion: "discovery.k8s.io/v1",
  kind: "EndpointSlice",
  metadata: metadata(`service-${index}`, {
    labels: { "kubernetes.io/service-name": `service-${index}` },
  }),
  addressType: "IPv4",
  ports: [{ name: "http", protocol: "TCP", port: 8080 }],
  endpoints: Array.from({ length: endpointsPerService }, (_, i) => {
    const node = (index * endpointsPerService + i) % nodes;
    const address = `10.${octets(node)}.${2 + ((index + round) % 250)}`;
    return {
      addresses: [address],
      conditions: { ready: true, serving: true, terminating: false },
      nodeName: `node-${node}`,
      targetRef: { kind: "Pod", name: `service-${index}-${i}`, uid: `${index}-${i}` },
    };
  }),
});

export const podObject = (index: number): KubernetesObject => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: metadata(`pod-${index}`),
  spec: { nodeName: "node-0", containers: [{ name: "main", image: "registry.example/program" }] },
  status: {
    phase: "Running",
    podIP: `10.0.0.${2 + index}`,
    podIPs: [{ ip: `10.0.0.${2 + index}` }],
  },
});

export function* objectsOf(scale: Scale): Generator<KubernetesObject, void> {
  for (let i = 0; i < scale.nodes; i++) yield nodeObject(i);
  for (let i = 0; i < 100; i++) {
    yield { apiVersion: "v1", kind: "Namespace", metadata: { name: `ns-${i}` } };
  }
  for (let i = 0; i < scale.services; i++) yield serviceObject(i);
  for (let i = 0; i < scale.services; i++) yield sliceObject(i, scale);
  for (let i = 0; i < scale.pods; i++) yield podObject(i);
}
