// The Kubernetes objects fairlead reads, cut down to the fields it uses. Names, defaults and limits
// follow the Kubernetes API reference (core/v1, discovery.k8s.io/v1); other fields are ignored.
import * as v from "valibot";
import { cidrSize, type Ip, parseIp } from "../../core/address.ts";
import type { Protocol } from "../../core/cluster/model.ts";
import { poolAnnotation } from "../../core/pool.ts";
import {
  cidrSchema,
  dnsLabelSchema,
  dnsNameSchema,
  hostIpSchema,
  ipSchema,
  isDnsLabel,
  oneOf,
  parsed,
  portSchema,
} from "../../core/schema.ts";
import { isRecord } from "../files/yaml-file.ts";

const maybe = v.exactOptional;

/** A list that may be missing: then it is empty. */
const listOf = <const T extends v.GenericSchema>(item: T) =>
  v.optional(v.array(item, "a list"), []);

const text = v.string("text");
const flag = v.boolean("true or false");

const metadata = <const T extends v.GenericSchema>(name: T) =>
  v.object({
    name,
    namespace: v.optional(dnsLabelSchema, "default"),
    annotations: v.optional(v.object({ [poolAnnotation]: maybe(text) }), {}),
    creationTimestamp: maybe(
      parsed(
        (value) => (Number.isNaN(Date.parse(value)) ? undefined : Date.parse(value)),
        'a time such as "2026-01-31T12:00:00Z"',
      ),
    ),
  });

// The first address, the gateway and one for a pod: what IPAM takes as a range.
const podCidr = v.pipe(
  cidrSchema,
  v.check(
    (cidr) => cidrSize(cidr) >= 4n,
    "a network such as 10.244.0.0/16 of at most /30, or /126 for IPv6",
  ),
);

// Only an InternalIP must be an address; a Hostname or InternalDNS entry is text.
const internalIp = v.object({ type: v.literal("InternalIP"), address: hostIpSchema });
const otherAddress = v.object({ type: text, address: text });
const nodeAddress = v.lazy((entry) =>
  isRecord(entry) && entry["type"] === "InternalIP" ? internalIp : otherAddress,
);

export const nodeSchema = v.object({
  metadata: metadata(dnsNameSchema),
  spec: maybe(v.object({ podCIDR: maybe(podCidr), podCIDRs: listOf(podCidr) })),
  status: maybe(v.object({ addresses: listOf(nodeAddress) })),
});

export const namespaceSchema = v.object({ metadata: metadata(dnsLabelSchema) });

const protocol = v.pipe(
  v.optional(oneOf(["TCP", "UDP", "SCTP"]), "TCP"),
  v.transform((word): Protocol => (word === "TCP" ? "tcp" : word === "UDP" ? "udp" : "sctp")),
);

// Kubernetes writes an empty name for none.
const portName = parsed(
  (value) => (value === "" || isDnsLabel(value) ? value : undefined),
  "up to 63 lower-case letters, digits and -",
);

const clusterIp = parsed<Ip | "None" | "">(
  (value) => (value === "None" || value === "" ? value : parseIp(value)),
  "an address or None",
);

export const serviceSchema = v.object({
  metadata: metadata(dnsLabelSchema),
  spec: v.object({
    type: v.optional(oneOf(["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"]), "ClusterIP"),
    clusterIP: maybe(clusterIp),
    clusterIPs: listOf(clusterIp),
    externalName: maybe(dnsNameSchema),
    ports: listOf(v.object({ name: maybe(portName), protocol, port: portSchema })),
  }),
});

export const serviceNameLabel = "kubernetes.io/service-name";

export const endpointSliceSchema = v.object({
  metadata: v.object({
    ...metadata(dnsNameSchema).entries,
    labels: v.object({ [serviceNameLabel]: dnsLabelSchema }, `the label ${serviceNameLabel}`),
  }),
  addressType: oneOf(["IPv4", "IPv6", "FQDN"]),
  ports: listOf(v.object({ name: maybe(portName), protocol, port: maybe(portSchema) })),
  endpoints: listOf(
    v.object({
      addresses: v.array(text, "a list of addresses"),
      conditions: maybe(v.object({ ready: maybe(flag) })),
      hostname: maybe(dnsLabelSchema),
      nodeName: maybe(dnsNameSchema),
      targetRef: maybe(v.object({ kind: maybe(text), name: maybe(text) })),
    }),
  ),
});

export const podSchema = v.object({
  metadata: metadata(dnsNameSchema),
  spec: maybe(v.object({ nodeName: maybe(dnsNameSchema), hostNetwork: maybe(flag) })),
  status: maybe(
    v.object({
      phase: maybe(text),
      podIP: maybe(ipSchema),
      podIPs: listOf(v.object({ ip: ipSchema })),
    }),
  ),
});
