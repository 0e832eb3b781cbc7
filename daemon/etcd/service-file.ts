// A service of which this node has endpoints, as `fairlead service publish` keeps it on this node, and as
// the cluster has it: the node's EndpointSlice, and the headless Service that it is of.
import * as v from "valibot";
import { familyOf, type Family, type Ip } from "../../core/address.ts";
import { ConfigError } from "../../core/error.ts";
import { dnsLabelSchema, ipSchema, oneOf, portSchema } from "../../core/schema.ts";
import { objectKeyOf } from "../source/cluster-object.ts";

const serviceSchema = v.object({
  version: v.literal(1),
  namespace: dnsLabelSchema,
  name: dnsLabelSchema,
  ports: v.array(
    v.object({
      name: v.exactOptional(dnsLabelSchema),
      protocol: oneOf(["TCP", "UDP", "SCTP"]),
      port: portSchema,
    }),
  ),
  addresses: v.array(ipSchema),
});

export type PublishedService = Omit<v.InferOutput<typeof serviceSchema>, "version">;

export const serviceFileName = ({
  namespace,
  name,
}: Pick<PublishedService, "namespace" | "name">): string => `${namespace}.${name}.json`;

export const formatServiceFile = (service: PublishedService): string =>
  `${JSON.stringify({ version: 1, ...service })}\n`;

/** Throws ConfigError naming the file. */
export function parseServiceFile(text: string, path: string): PublishedService {
  try {
    const { version: _, ...service } = v.parse(serviceSchema, JSON.parse(text));
    return service;
  } catch (cause) {
    throw new ConfigError(path, "Cannot read a published service", { cause });
  }
}

/** By their keys as objects. A slice has addresses of one family. */
export function serviceObjects(
  service: PublishedService,
  nodeName: string,
): ReadonlyMap<string, object> {
  const objects = new Map<string, object>();
  for (const family of [4, 6] as const) {
    const addresses = service.addresses.filter((address) => familyOf(address) === family);
    if (addresses.length === 0) continue;
    const name = sliceName(service, nodeName, family);
    objects.set(
      objectKeyOf("EndpointSlice", { namespace: service.namespace, name }),
      sliceObject(service, { name, nodeName, family, addresses }),
    );
  }
  return objects;
}

const sliceName = (
  { name }: Pick<PublishedService, "name">,
  nodeName: string,
  family: Family,
): string => `${slicesOf(name)}ipv${family}.${nodeName}`;

/** The keys as objects of all slices that a node may have of a service. */
export const sliceKeys = (
  { namespace, name }: Pick<PublishedService, "namespace" | "name">,
  nodeName: string,
): readonly string[] =>
  ([4, 6] as const).map((family) =>
    objectKeyOf("EndpointSlice", { namespace, name: sliceName({ name }, nodeName, family) }),
  );

/** What the names of a service's slices, of all nodes, begin with. */
export const slicesOf = (service: string): string => `${service}.`;

interface Slice {
  readonly name: string;
  readonly nodeName: string;
  readonly family: Family;
  readonly addresses: readonly Ip[];
}

const sliceObject = (service: PublishedService, slice: Slice): object => ({
  apiVersion: "discovery.k8s.io/v1",
  kind: "EndpointSlice",
  metadata: {
    namespace: service.namespace,
    name: slice.name,
    labels: { "kubernetes.io/service-name": service.name },
  },
  addressType: `IPv${slice.family}`,
  ports: service.ports,
  endpoints: slice.addresses.map((address) => ({
    addresses: [address],
    conditions: { ready: true },
    nodeName: slice.nodeName,
  })),
});

/** Marks a Service that the first node to have endpoints of it made. */
export const publishedAnnotation = "fairlead.dev/published";

/** The Service that published endpoints are of, where the cluster has no other of its name. */
export const headlessService = (service: PublishedService): object => ({
  apiVersion: "v1",
  kind: "Service",
  metadata: {
    namespace: service.namespace,
    name: service.name,
    annotations: { [publishedAnnotation]: "true" },
  },
  spec: { clusterIP: "None", ports: service.ports },
});
