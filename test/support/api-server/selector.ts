// Label and field selectors, as "Labels and Selectors" and "Field Selectors" describe them.
import { Refusal } from "./status.ts";
import type { Resource } from "./resource.ts";
import type { ApiObject } from "./object-store.ts";

export type Matches = (object: ApiObject) => boolean;

/** `a=b,c!=d,e in (f,g),h notin (i),j,!k` */
export function parseLabelSelector(text: string): Matches {
  const parts = text.match(/(?:[^,(]|\([^)]*\))+/g) ?? [];
  const rules = parts.map((part): ((labels: Readonly<Record<string, string>>) => boolean) => {
    const set = /^\s*(\S+)\s+(in|notin)\s+\(([^)]*)\)\s*$/.exec(part);
    if (set !== null) {
      const [, key = "", word, list = ""] = set;
      const values = new Set(list.split(",").map((value) => value.trim()));
      // "notin" also takes what has no such label.
      if (word === "in") return (labels) => key in labels && values.has(labels[key]!);
      return (labels) => !(key in labels) || !values.has(labels[key]!);
    }
    const pair = /^\s*([^\s=!]+)\s*(==|=|!=)\s*([^\s=!]*)\s*$/.exec(part);
    if (pair !== null) {
      const [, key = "", sign, value] = pair;
      if (sign === "!=") return (labels) => labels[key] !== value;
      return (labels) => labels[key] === value;
    }
    const there = /^\s*(!?)\s*([^\s=!]+)\s*$/.exec(part);
    if (there === null) throw new Refusal(400, `unable to parse requirement: "${part}"`);
    const [, not, key = ""] = there;
    return (labels) => key in labels === (not === "");
  });
  return ({ metadata: { labels = {} } }) => rules.every((rule) => rule(labels));
}

/** `spec.nodeName=node-a,status.phase!=Failed`: only of fields that the resource offers. */
export function parseFieldSelector(text: string, resource: Resource): Matches {
  const rules = text.split(",").map((part): Matches => {
    const [, field = "", sign, value] = /^([^=!]+)(==|=|!=)(.*)$/.exec(part) ?? [];
    if (sign === undefined) throw new Refusal(400, `invalid field selector: "${part}"`);
    const known = ["metadata.name", "metadata.namespace", ...resource.fields];
    if (!known.includes(field)) {
      throw new Refusal(400, `field label not supported: ${field}`);
    }
    return (object) => (valueAt(object, field) === value) === (sign !== "!=");
  });
  return (object) => rules.every((rule) => rule(object));
}

/** What is not there is the empty text. */
function valueAt(object: ApiObject, path: string): string {
  let value: unknown = object;
  for (const key of path.split(".")) value = (value as Record<string, unknown> | undefined)?.[key];
  return typeof value === "string" ? value : JSON.stringify(value ?? "").replaceAll('"', "");
}
