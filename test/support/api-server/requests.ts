// What one request that is no watch does to the store, as "API Concepts" has it.
import { randomBytes } from "node:crypto";
import { applyPatch } from "./patch.ts";
import { apiVersionOf, type Target } from "./resource.ts";
import { type Matches, parseFieldSelector, parseLabelSelector } from "./selector.ts";
import { Refusal } from "./status.ts";
import type { ApiObject, ObjectStore } from "./object-store.ts";

export function selectionOf({ resource }: Target, query: URLSearchParams): Matches {
  const labels = parseLabelSelector(query.get("labelSelector") ?? "");
  const fieldText = query.get("fieldSelector") ?? "";
  const fields = fieldText === "" ? () => true : parseFieldSelector(fieldText, resource);
  return (object) => labels(object) && fields(object);
}

/** Undefined: none was given. */
export function revisionOf(query: URLSearchParams, store: ObjectStore): number | undefined {
  const text = query.get("resourceVersion") ?? "";
  if (text === "") return undefined;
  if (!/^\d+$/.test(text)) throw new Refusal(400, `Invalid value: "${text}": strconv.ParseUint`);
  const revision = Number(text);
  if (revision > store.revision) {
    throw new Refusal(504, `Too large resource version: ${revision}, current: ${store.revision}`, {
      details: {
        causes: [{ reason: "ResourceVersionTooLarge", message: "Too large resource version" }],
        retryAfterSeconds: 1,
      },
    });
  }
  return revision;
}

interface Continuation {
  readonly revision: number;
  readonly after: string;
}

const encode = (value: Continuation): string =>
  Buffer.from(JSON.stringify(value)).toString("base64url");

const keyOf = ({ metadata: { namespace = "", name } }: ApiObject): string => `${namespace}/${name}`;

export function list(store: ObjectStore, target: Target, query: URLSearchParams): object {
  const { resource, namespace } = target;
  const matches = selectionOf(target, query);
  const token = query.get("continue") ?? "";
  const asked = revisionOf(query, store);
  const match = query.get("resourceVersionMatch") ?? "";
  if (match !== "" && (asked === undefined || token !== "")) {
    throw new Refusal(422, "resourceVersionMatch is forbidden unless resourceVersion is provided");
  }
  const wanted = Number(query.get("limit") ?? "0");
  // Any version is served from the cache, which gives all at once.
  const limit = asked === 0 && match !== "Exact" ? 0 : wanted;
  const isExact =
    asked !== undefined && asked !== 0 && (match === "Exact" || (match === "" && limit > 0));
  const continuation =
    token === ""
      ? undefined
      : (JSON.parse(Buffer.from(token, "base64url").toString()) as Continuation);
  const revision = continuation?.revision ?? (isExact ? asked : store.revision);
  if (revision < store.compacted) {
    const from = encode({ revision: store.revision, after: continuation?.after ?? "" });
    const refusal = new Refusal(
      410,
      "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter.",
    );
    throw Object.assign(refusal, { status: { ...refusal.status, metadata: { continue: from } } });
  }
  const all = store.list(resource, namespace, revision).filter(matches);
  const start =
    continuation === undefined ? 0 : all.findIndex((object) => keyOf(object) > continuation.after);
  const rest = start < 0 ? [] : all.slice(start);
  const items = limit > 0 ? rest.slice(0, limit) : rest;
  const left = rest.length - items.length;
  const isSelected = query.has("labelSelector") || query.has("fieldSelector");
  return {
    kind: `${resource.kind}List`,
    apiVersion: apiVersionOf(resource),
    metadata: {
      resourceVersion: String(revision),
      ...(left > 0 && { continue: encode({ revision, after: keyOf(items.at(-1)!) }) }),
      ...(left > 0 && !isSelected && { remainingItemCount: left }),
    },
    // Items of a list say neither kind nor version: the list does.
    items: items.map(({ apiVersion: _version, kind: _kind, ...object }) => object),
  };
}

export function get(store: ObjectStore, { resource, namespace, name = "" }: Target): ApiObject {
  const found = store.get(resource, namespace, name);
  if (found !== undefined) return found;
  throw new Refusal(404, `${resource.plural} "${name}" not found`);
}

export interface Body {
  readonly contentType: string;
  readonly value: unknown;
}

export function create(store: ObjectStore, target: Target, { value }: Body): ApiObject {
  const { resource, namespace } = target;
  const object = checked(value, target);
  const { generateName } = object.metadata;
  const name =
    object.metadata.name ??
    (typeof generateName === "string"
      ? `${generateName}${randomBytes(3).toString("hex")}`
      : undefined);
  if (name === undefined) throw new Refusal(422, "metadata.name: Required value");
  const isName =
    name.length <= 253 &&
    /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/.test(name);
  if (!isName)
    throw new Refusal(
      422,
      `metadata.name: Invalid value: "${name}": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.'`,
    );
  if (object.metadata.resourceVersion !== undefined) {
    throw new Refusal(422, "metadata.resourceVersion: must not be set on objects to be created");
  }
  const metadata = { ...object.metadata, name, ...(namespace !== undefined && { namespace }) };
  return store.create(resource, { ...object, metadata });
}

export function update(store: ObjectStore, target: Target, { value }: Body): ApiObject {
  const before = get(store, target);
  const object = checked(value, target);
  if (object.metadata.name !== target.name) {
    throw new Refusal(400, "the name of the object does not match the name on the URL");
  }
  return store.update(target.resource, written(target, before, object));
}

export function patch(store: ObjectStore, target: Target, body: Body): ApiObject {
  const before = get(store, target);
  const patched = applyPatch(body.contentType, before, body.value) as ApiObject;
  const given = (body.value as { metadata?: { resourceVersion?: string } }).metadata;
  // Without a version in the patch it goes over whichever there is.
  const { resourceVersion: _, ...rest } = patched.metadata;
  const metadata =
    given?.resourceVersion === undefined
      ? rest
      : { ...rest, resourceVersion: given.resourceVersion };
  return store.update(target.resource, written(target, before, { ...patched, metadata }));
}

/** Through `status` only the status is written, and else all but the status. */
function written(target: Target, before: ApiObject, object: ApiObject): ApiObject {
  const { resource, subresource } = target;
  if (subresource === "status") {
    const { resourceVersion } = object.metadata;
    const metadata = { ...before.metadata, resourceVersion };
    return { ...before, metadata, status: object["status"] };
  }
  if (resource.kind === "Node") refuseOtherPodCidrs(before, object);
  if (!resource.hasStatus) return object;
  return { ...object, status: before["status"] };
}

/** A node's pod CIDRs are given once. */
function refuseOtherPodCidrs(before: ApiObject, object: ApiObject): void {
  const cidrsOf = ({ spec }: ApiObject): string =>
    JSON.stringify((spec as { podCIDRs?: unknown } | undefined)?.podCIDRs ?? []);
  if (cidrsOf(before) === "[]" || cidrsOf(before) === cidrsOf(object)) return;
  throw new Refusal(
    422,
    `Node "${before.metadata.name}" is invalid: spec: Forbidden: node updates may only change labels, taints, or capacity`,
  );
}

export function remove(store: ObjectStore, target: Target, body: Body | undefined): object {
  const { resource, namespace, name = "" } = target;
  const options = body?.value as
    | { preconditions?: { uid?: string; resourceVersion?: string } }
    | undefined;
  const { preconditions } = options ?? {};
  store.remove(resource, { namespace, name }, preconditions);
  return { kind: "Status", apiVersion: "v1", metadata: {}, status: "Success" };
}

function checked(value: unknown, { resource, namespace }: Target): ApiObject {
  const object = value as Partial<ApiObject> | null;
  if (typeof object !== "object" || object === null) throw new Refusal(400, "not an object");
  if (object.kind !== resource.kind || object.apiVersion !== apiVersionOf(resource)) {
    throw new Refusal(400, `expected ${apiVersionOf(resource)} ${resource.kind}`);
  }
  if (typeof object.metadata !== "object") throw new Refusal(422, "metadata: Required value");
  const given = object.metadata.namespace;
  if (given !== undefined && given !== namespace) {
    throw new Refusal(
      400,
      "the namespace of the provided object does not match the namespace sent on the request",
    );
  }
  return object as ApiObject;
}
