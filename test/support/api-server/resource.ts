// The resources that the small API server has, as the API reference names them.

export interface Resource {
  /** "" is the core group. */
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly kind: string;
  readonly isNamespaced: boolean;
  /** `status` is written through a path of its own, and by no other. */
  readonly hasStatus: boolean;
  /** What may stand in a field selector beside metadata.name and metadata.namespace. */
  readonly fields: readonly string[];
}

const core = (plural: string, kind: string, more: Partial<Resource> = {}): Resource => ({
  group: "",
  version: "v1",
  plural,
  kind,
  isNamespaced: true,
  hasStatus: false,
  fields: [],
  ...more,
});

export const resources: readonly Resource[] = [
  core("nodes", "Node", { isNamespaced: false, hasStatus: true, fields: ["spec.unschedulable"] }),
  core("namespaces", "Namespace", {
    isNamespaced: false,
    hasStatus: true,
    fields: ["status.phase"],
  }),
  core("services", "Service", { hasStatus: true, fields: ["spec.clusterIP", "spec.type"] }),
  core("pods", "Pod", {
    hasStatus: true,
    fields: ["spec.nodeName", "spec.restartPolicy", "status.phase", "status.podIP"],
  }),
  core("configmaps", "ConfigMap"),
  core("events", "Event", { fields: ["involvedObject.kind", "involvedObject.name", "reason"] }),
  {
    group: "discovery.k8s.io",
    version: "v1",
    plural: "endpointslices",
    kind: "EndpointSlice",
    isNamespaced: true,
    hasStatus: false,
    fields: [],
  },
  {
    group: "coordination.k8s.io",
    version: "v1",
    plural: "leases",
    kind: "Lease",
    isNamespaced: true,
    hasStatus: false,
    fields: [],
  },
];

export const apiVersionOf = ({ group, version }: Resource): string =>
  group === "" ? version : `${group}/${version}`;

/** Where a collection is, or one object of it. */
export interface Target {
  readonly resource: Resource;
  /** Undefined: of all namespaces, or the resource has none. */
  readonly namespace: string | undefined;
  /** Undefined: the collection. */
  readonly name: string | undefined;
  readonly subresource: string | undefined;
}

/** `/api/v1/namespaces/demo/pods/web-1/status` → what it is about; undefined: nothing of ours. */
export function parseTarget(path: string): Target | undefined {
  const parts = path.split("/").filter((part) => part !== "");
  const isCore = parts[0] === "api";
  const [group, version] = isCore ? ["", parts[1]] : [parts[1], parts[2]];
  if (!isCore && parts[0] !== "apis") return undefined;
  const rest = parts.slice(isCore ? 2 : 3).map(decodeURIComponent);
  const find = (plural: string | undefined): Resource | undefined =>
    resources.find(
      (one) => one.plural === plural && one.group === group && one.version === version,
    );
  const inNamespace = rest[0] === "namespaces" && rest.length > 2 ? find(rest[2]) : undefined;
  if (inNamespace?.isNamespaced === true) {
    const [, namespace, , name, subresource] = rest;
    return { resource: inNamespace, namespace, name, subresource };
  }
  const resource = find(rest[0]);
  const [, name, subresource] = rest;
  return resource && { resource, namespace: undefined, name, subresource };
}

/** The path of the collection, or of the object. */
export function pathOf(resource: Resource, namespace?: string, name?: string): string {
  const base = resource.group === "" ? "/api" : `/apis/${resource.group}`;
  const inside = resource.isNamespaced && namespace !== undefined ? `namespaces/${namespace}/` : "";
  return `${base}/${resource.version}/${inside}${resource.plural}${name === undefined ? "" : `/${name}`}`;
}
