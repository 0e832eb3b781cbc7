// What the API has of this node beyond what the network is made of.
import * as v from "valibot";
import { withoutNulls } from "../yaml-file.ts";

export interface OwnNode {
  readonly uid: string;
  /** Status and reason of the condition NetworkUnavailable; absent: there is none. */
  readonly networkUnavailable?: { readonly status: string; readonly reason: string };
}

const schema = v.object({
  metadata: v.object({ name: v.string(), uid: v.optional(v.string(), "") }),
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
  const parsed = v.safeParse(schema, withoutNulls(raw));
  if (!parsed.success || parsed.output.metadata.name !== nodeName) return undefined;
  const { metadata, status } = parsed.output;
  const found = (status.conditions ?? []).find(({ type }) => type === "NetworkUnavailable");
  return { uid: metadata.uid, ...(found !== undefined && { networkUnavailable: found }) };
}
