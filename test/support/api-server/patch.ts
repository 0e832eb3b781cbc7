// JSON merge patches (RFC 7386), and of strategic merge patches what merges lists by a key.
import { Refusal } from "./status.ts";

type Json = unknown;
const isObject = (value: Json): value is Record<string, Json> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** By the API reference's `patchMergeKey` of the lists that fairlead patches. */
const mergeKeys: Readonly<Record<string, string>> = {
  conditions: "type",
  addresses: "type",
  podCIDRs: "",
};

export function applyPatch(contentType: string, target: Json, patch: Json): Json {
  switch (contentType) {
    case "application/merge-patch+json":
      return merge(target, patch, () => undefined);
    case "application/strategic-merge-patch+json":
      return merge(target, patch, (key) => mergeKeys[key]);
    default:
      throw new Refusal(
        415,
        `the body of the request was in an unknown format - accepted media types include: application/merge-patch+json, application/strategic-merge-patch+json`,
      );
  }
}

function merge(target: Json, patch: Json, keyOf: (field: string) => string | undefined): Json {
  if (!isObject(patch)) return patch;
  const result: Record<string, Json> = isObject(target) ? { ...target } : {};
  for (const [field, value] of Object.entries(patch)) {
    const old = result[field];
    if (value === null) delete result[field];
    else if (Array.isArray(value) && keyOf(field) !== undefined) {
      result[field] = mergeLists(Array.isArray(old) ? old : [], value, keyOf(field)!);
    } else result[field] = merge(old, value, keyOf);
  }
  return result;
}

function mergeLists(old: readonly Json[], added: readonly Json[], key: string): Json[] {
  // A list of plain values with the strategy "merge" is a set.
  if (key === "") return [...new Set([...old, ...added])];
  const idOf = (item: Json): Json => (isObject(item) ? item[key] : undefined);
  const result = [...old];
  for (const item of added) {
    const at = result.findIndex((one) => idOf(one) === idOf(item));
    if (at < 0) result.push(item);
    else result[at] = merge(result[at], item, () => undefined);
  }
  return result;
}
