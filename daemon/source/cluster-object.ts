// One Kubernetes object as its file has it → the cluster model, or what is wrong with it.
import type * as v from "valibot";
import { familyOf, type Ip, parseIp } from "../../core/address.ts";
import type { Attachment } from "../../core/cluster/attachment.ts";
import type {
  Endpoint,
  EndpointSlice,
  Namespace,
  Node,
  Pod,
  Service,
} from "../../core/cluster/model.ts";
import { poolAnnotation } from "../../core/pool.ts";
import { type Problem, validate } from "../files/validate.ts";
import {
  formatPath,
  formatValue,
  isRecord,
  type Path,
  type YamlDocument,
} from "../files/yaml-file.ts";
import { attachmentSchema, attachmentVersion } from "./attachment-object.ts";
import {
  endpointSliceSchema,
  namespaceSchema,
  nodeSchema,
  podSchema,
  serviceNameLabel,
  serviceSchema,
} from "./kubernetes-schema.ts";

export type ClusterObject =
  | { readonly kind: "Node"; readonly object: Node }
  | { readonly kind: "Namespace"; readonly object: Namespace }
  | { readonly kind: "Service"; readonly object: Service }
  | { readonly kind: "EndpointSlice"; readonly object: EndpointSlice }
  | { readonly kind: "Pod"; readonly object: Pod }
  | { readonly kind: "Attachment"; readonly object: Attachment };

export type ReadObject =
  | { readonly kind: "object"; readonly value: ClusterObject }
  /** Not something fairlead uses: `what` says what it is. */
  | { readonly kind: "ignored"; readonly what: string }
  | { readonly kind: "invalid"; readonly problems: readonly Problem[] };

/** An object somewhere in a document. */
export interface Place {
  readonly document: YamlDocument;
  readonly path: Path;
  readonly value: unknown;
}

/** Kind/namespace/name: two objects with the same key are the same object. */
export const clusterObjectKey = ({ kind, object }: ClusterObject): string =>
  objectKeyOf(kind, "id" in object ? { name: object.id } : object);

export const objectKeyOf = (
  kind: string,
  { namespace, name }: { readonly namespace?: string; readonly name: string },
): string => (namespace === undefined ? `${kind} ${name}` : `${kind} ${namespace}/${name}`);

/** Of an object as JSON has it, whatever else is in it; undefined where it has no name. */
export function objectNameOf(value: unknown): string | undefined {
  if (!isRecord(value) || !isRecord(value["metadata"])) return undefined;
  const { kind } = value;
  const { namespace, name } = value["metadata"];
  if (typeof kind !== "string" || typeof name !== "string") return undefined;
  return objectKeyOf(kind, { name, ...(typeof namespace === "string" && { namespace }) });
}

export function readClusterObject(place: Place): ReadObject {
  const { value } = place;
  if (!isRecord(value)) return invalid(place, [], value, "a Kubernetes object");
  const { apiVersion, kind } = value;
  if (typeof kind !== "string") return invalid(place, ["kind"], kind, "the kind of the object");
  if (typeof apiVersion !== "string") {
    return invalid(place, ["apiVersion"], apiVersion, `the API version of ${kind}`);
  }
  switch (`${apiVersion} ${kind}`) {
    case "v1 Node":
      return read(place, nodeSchema, (node) => ({ kind: "Node", object: toNode(node) }));
    case "v1 Namespace":
      return read(place, namespaceSchema, ({ metadata }) => ({
        kind: "Namespace",
        object: { name: metadata.name, ...poolOf(metadata) },
      }));
    case "v1 Service":
      return read(place, serviceSchema, (service) => ({
        kind: "Service",
        object: toService(service),
      }));
    case "v1 Pod":
      return read(place, podSchema, (pod) => ({ kind: "Pod", object: toPod(pod) }));
    case "discovery.k8s.io/v1 EndpointSlice":
      return readEndpointSlice(place);
    case `${attachmentVersion} Attachment`:
      return read(place, attachmentSchema, ({ metadata, spec }) => ({
        kind: "Attachment",
        object: { id: metadata.name, ...spec },
      }));
    default:
      return { kind: "ignored", what: `${apiVersion} ${kind}` };
  }
}

function read<T>(
  place: Place,
  schema: v.GenericSchema<unknown, T>,
  convert: (value: T) => ClusterObject,
): ReadObject {
  const checked = validate(schema, place.document, place.value, {
    path: place.path,
    subject: ` of ${describe(place.value)}`,
  });
  return checked.kind === "valid"
    ? { kind: "object", value: convert(checked.value) }
    : { kind: "invalid", problems: checked.problems };
}

function invalid(
  { document, path }: Place,
  key: Path,
  value: unknown,
  expected: string,
): ReadObject {
  const at = [...path, ...key];
  const message =
    value === undefined
      ? `Cannot find ${formatPath(at)}: expected ${expected}`
      : `Cannot use ${at.length === 0 ? "" : `${formatPath(at)} `}${formatValue(value)}: expected ${expected}`;
  return { kind: "invalid", problems: [{ line: document.lineOf(at), message }] };
}

/** `Service demo/web`, as far as the object says. */
function describe(value: unknown): string {
  if (!isRecord(value)) return "object";
  const { kind, metadata } = value;
  const { name, namespace } = isRecord(metadata) ? metadata : {};
  const prefix = typeof namespace === "string" ? `${namespace}/` : "";
  return `${String(kind)} ${typeof name === "string" ? prefix + name : "without a name"}`;
}

function toNode({ metadata, spec, status }: v.InferOutput<typeof nodeSchema>): Node {
  const internal = (status?.addresses ?? []).flatMap((entry) =>
    entry.type === "InternalIP" ? (parseIp(entry.address) ?? []) : [],
  );
  const { podCIDR, podCIDRs = [] } = spec ?? {};
  const { name, creationTimestamp } = metadata;
  return {
    name,
    // Kubernetes allows several of a family; peers use the first.
    addresses: internal.filter((ip, i) => i === firstOfFamily(internal, ip)),
    podCidrs: podCIDRs.length === 0 && podCIDR !== undefined ? [podCIDR] : podCIDRs,
    ...(creationTimestamp === undefined ? {} : { createdAtMs: creationTimestamp }),
  };
}

const firstOfFamily = (ips: readonly Ip[], ip: Ip): number =>
  ips.findIndex((other) => familyOf(other) === familyOf(ip));

function toService({ metadata, spec }: v.InferOutput<typeof serviceSchema>): Service {
  const { type, clusterIP = "", clusterIPs, ports, ...rest } = spec;
  const given = clusterIPs.length > 0 ? clusterIPs : [clusterIP];
  return {
    namespace: metadata.namespace,
    name: metadata.name,
    type,
    clusterIps: given.filter((ip): ip is Ip => ip !== "None" && ip !== ""),
    isHeadless: given.includes("None"),
    ports: ports.map(withoutEmptyName),
    ...rest,
  };
}

function toPod({ metadata, spec, status }: v.InferOutput<typeof podSchema>): Pod {
  const { podIP, podIPs = [], phase } = status ?? {};
  const ips = podIPs.length === 0 && podIP !== undefined ? [podIP] : podIPs.map(({ ip }) => ip);
  const { hostNetwork = false, ...rest } = spec ?? {};
  return {
    namespace: metadata.namespace,
    name: metadata.name,
    // The addresses of a pod that has ended may already be another's.
    ips: phase === "Succeeded" || phase === "Failed" ? [] : ips,
    isHostNetwork: hostNetwork,
    ...poolOf(metadata),
    ...rest,
  };
}

function poolOf({ annotations }: v.InferOutput<typeof podSchema>["metadata"]): {
  readonly pool?: string;
} {
  const pool = annotations[poolAnnotation];
  return pool === undefined ? {} : { pool };
}

function readEndpointSlice(place: Place): ReadObject {
  const { document, path, value } = place;
  const subject = ` of ${describe(value)}`;
  const checked = validate(endpointSliceSchema, document, value, { path, subject });
  if (checked.kind === "invalid") return checked;
  const { metadata, addressType, ports, endpoints } = checked.value;
  if (addressType === "FQDN") {
    return { kind: "ignored", what: "discovery.k8s.io/v1 EndpointSlice of addressType FQDN" };
  }
  const family = addressType === "IPv4" ? 4 : 6;
  const problems: Problem[] = [];
  const converted = endpoints.map((endpoint, i): Endpoint => {
    const addresses = endpoint.addresses.flatMap((text, j) => {
      const ip = parseIp(text);
      if (ip !== undefined && familyOf(ip) === family) return [ip];
      const key = ["endpoints", i, "addresses", j];
      problems.push({
        line: document.lineOf([...path, ...key]),
        message: `Cannot use ${formatPath(key)} ${formatValue(text)}${subject}: expected an ${addressType} address`,
      });
      return [];
    });
    return toEndpoint(endpoint, addresses);
  });
  if (problems.length > 0) return { kind: "invalid", problems };
  const object: EndpointSlice = {
    namespace: metadata.namespace,
    name: metadata.name,
    serviceName: metadata.labels[serviceNameLabel],
    ports: ports.map(withoutEmptyName),
    endpoints: converted,
  };
  return { kind: "object", value: { kind: "EndpointSlice", object } };
}

const withoutEmptyName = <T extends { readonly name?: string }>({ name, ...port }: T) =>
  name === undefined || name === "" ? port : { name, ...port };

type SliceEndpoint = v.InferOutput<typeof endpointSliceSchema>["endpoints"][number];

function toEndpoint(endpoint: SliceEndpoint, addresses: readonly Ip[]): Endpoint {
  const { conditions, targetRef, ...rest } = endpoint;
  const podName = targetRef?.kind === "Pod" ? targetRef.name : undefined;
  return {
    ...rest,
    addresses,
    isReady: conditions?.ready ?? true,
    ...(podName === undefined ? {} : { podName }),
  };
}
