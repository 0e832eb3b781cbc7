// What the API has of this node beyond what the network is made of.
import * as v from "valibot";
import type { Cidr } from "../../core/address.ts";
import { cidrSchema } from "../../core/schema.ts";
import { isRecord, withoutNulls } from "../files/yaml-file.ts";

export interface OwnNode {
  readonly uid: string;
  readonly resourceVersion: string;
  readonly podCidrs: readonly Cidr[];
  /** Status and reason of the condition NetworkUnavailable; absent: there is none. */
  readonly networkUnavailable?: { readonly status: string; readonly reason: string };
}

const schema = v.object({
  metadata: v.object({
    name: v.string(),
    uid: v.optional(v.string(), ""),
    resourceVersion: v.optional(v.string(), ""),
  }),
  spec: v.optional(v.object({ podCIDRs: v.optional(v.array(cidrSchema), []) }), {}),
  status: v.optional(
    v.object({
      conditions: v.optional(
        v.array(
          v.object({ type: v.string(), status: v.string(), reason: v.optional(v.string(), "") }),
        ),
        [],
      ),
    }),
    {},
  ),
});

/** Undefined for another node, and for what is none. */
export function readOwnNode(raw: unknown, nodeName: string): OwnNode | undefined {
  // There are thousands of others.
  if (!isNamed(raw, nodeName)) return undefined;
  const parsed = v.safeParse(schema, withoutNulls(raw));
  if (!parsed.success) return undefined;
  const { metadata, spec, status } = parsed.output;
  const found = (status.conditions ?? []).find(({ type }) => type === "NetworkUnavailable");
  const { uid, resourceVersion } = metadata;
  const podCidrs = spec.podCIDRs ?? [];
  return {
    uid,
    resourceVersion,
    podCidrs,
    ...(found !== undefined && { networkUnavailable: found }),
  };
}

function isNamed(raw: unknown, name: string): boolean {
  const metadata = isRecord(raw) ? raw["metadata"] : undefined;
  return isRecord(metadata) && metadata["name"] === name;
}
