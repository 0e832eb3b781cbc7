// What the API gives of an object → the fields that are read of it. A Node has 20 KB, of which we use 200
// octets: nothing else is looked at, converted or kept.
import { poolAnnotation } from "../../core/pool.ts";
import { isRecord } from "../files/yaml-file.ts";
import type { ClusterObject } from "./cluster-object.ts";
import { serviceNameLabel } from "./kubernetes-schema.ts";

/** What fairlead reads of the API. */
export type ReadKind = Exclude<ClusterObject["kind"], "Attachment">;

type Fields = Readonly<Record<string, unknown>>;

/** Of what is no object, the value itself: the schema says what is wrong with it. */
export function trimObject(kind: ReadKind, apiVersion: string, raw: unknown): unknown {
  if (!isRecord(raw)) return raw;
  const metadata = pick(raw["metadata"], [
    "name",
    "namespace",
    "creationTimestamp",
    ["annotations", [poolAnnotation]],
    ["labels", kind === "EndpointSlice" ? [serviceNameLabel] : []],
  ]);
  return { apiVersion, kind, metadata, ...contentOf(kind, raw) };
}

function contentOf(kind: ReadKind, raw: Fields): Fields {
  switch (kind) {
    case "Node":
      return pickAll(raw, [
        ["spec", ["podCIDR", "podCIDRs"]],
        ["status", ["addresses"]],
      ]);
    case "Namespace":
      return {};
    case "Service":
      return pickAll(raw, [["spec", ["type", "clusterIP", "clusterIPs", "externalName", "ports"]]]);
    case "EndpointSlice":
      return pickAll(raw, ["addressType", "ports", "endpoints"]);
    case "Pod":
      return pickAll(raw, [
        ["spec", ["nodeName", "hostNetwork"]],
        ["status", ["phase", "podIP", "podIPs"]],
      ]);
  }
}

/** A key, or a key with those below it. */
type Picked = string | readonly [string, readonly Picked[]];

const pick = (value: unknown, keys: readonly Picked[]): unknown =>
  isRecord(value) ? pickAll(value, keys) : value;

function pickAll(value: Fields, keys: readonly Picked[]): Fields {
  const result: Record<string, unknown> = {};
  for (const picked of keys) {
    const [key, inner] = typeof picked === "string" ? [picked] : picked;
    if (!(key in value)) continue;
    result[key] = inner === undefined ? value[key] : pick(value[key], inner);
  }
  return result;
}
