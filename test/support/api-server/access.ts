// Who may do what: bearer tokens and client certificates, and rules as RBAC has them.
import { Refusal } from "./status.ts";
import type { Target } from "./resource.ts";

export interface Rule {
  readonly apiGroups: readonly string[];
  /** `nodes`, or `nodes/status`. */
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
  /** Absent: of any name. */
  readonly resourceNames?: readonly string[];
  /** Of a Role; absent: of a ClusterRole. */
  readonly namespace?: string;
}

/** What somebody asks for, in the words of RBAC. */
export interface Call {
  readonly user: string;
  readonly verb: string;
  readonly group: string;
  readonly resource: string;
  readonly namespace?: string;
  readonly name?: string;
  readonly query: URLSearchParams;
}

export function callOf(user: string, method: string, target: Target, query: URLSearchParams): Call {
  const { resource, namespace, name, subresource } = target;
  const isWatch = ["1", "true"].includes(query.get("watch") ?? "");
  const verb =
    method === "GET"
      ? name !== undefined
        ? "get"
        : isWatch
          ? "watch"
          : "list"
      : ({ POST: "create", PUT: "update", PATCH: "patch", DELETE: "delete" }[method] ?? "?");
  return {
    user,
    verb,
    group: resource.group,
    resource: subresource === undefined ? resource.plural : `${resource.plural}/${subresource}`,
    ...(namespace !== undefined && { namespace }),
    ...(name !== undefined && { name }),
    query,
  };
}

const covers = (list: readonly string[], value: string): boolean =>
  list.includes("*") || list.includes(value);

export const ruleAllows = (rule: Rule, call: Call): boolean =>
  covers(rule.apiGroups, call.group) &&
  covers(rule.resources, call.resource) &&
  covers(rule.verbs, call.verb) &&
  (rule.namespace === undefined || rule.namespace === call.namespace) &&
  (rule.resourceNames === undefined ||
    (call.name !== undefined && rule.resourceNames.includes(call.name)));

/** Throws what the API answers to who may not. */
export function authorize(rules: readonly Rule[] | undefined, call: Call): void {
  if (rules === undefined || rules.some((rule) => ruleAllows(rule, call))) return;
  const { user, verb, resource, group, name, namespace } = call;
  const where =
    namespace === undefined ? "at the cluster scope" : `in the namespace "${namespace}"`;
  throw new Refusal(
    403,
    `${resource}${group === "" ? "" : `.${group}`} ${name === undefined ? "" : `"${name}" `}is forbidden: User "${user}" cannot ${verb} resource "${resource}" in API group "${group}" ${where}`,
    { details: { ...(name !== undefined && { name }), group, kind: resource } },
  );
}
