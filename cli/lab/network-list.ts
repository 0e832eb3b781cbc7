// The runtime's half of the CNI specification 1.1.0, section 3 ("Execution of Network
// Configurations"), in the details as libcni has it: what becomes of a conflist before a plugin sees it.
import * as v from "valibot";
import { ConfigError } from "../../core/error.ts";

/** A plugin's entry, as written: unknown keys are the plugin's own. */
export type PluginConf = Readonly<Record<string, unknown>> & { readonly type: string };

export interface NetworkList {
  readonly name: string;
  /** Negotiated: what every plugin is asked in. */
  readonly cniVersion: string;
  /** In the order of ADD. */
  readonly plugins: readonly PluginConf[];
}

/** The newest version this runtime speaks. */
const newest = "1.1.0";

const listSchema = v.object({
  name: v.pipe(v.string(), v.regex(/^[A-Za-z0-9][A-Za-z0-9_.-]*$/, "not a network name")),
  cniVersion: v.optional(v.string()),
  cniVersions: v.optional(v.array(v.string())),
  plugins: v.pipe(v.array(v.looseObject({ type: v.string() })), v.minLength(1, "no plugin")),
});

/** Throws ConfigError naming the file and the key. */
export function parseNetworkList(text: string, where: string): NetworkList {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new ConfigError(where, "Cannot parse the network configuration: not JSON", { cause });
  }
  const parsed = v.safeParse(listSchema, json);
  if (!parsed.success) {
    const [issue] = parsed.issues;
    throw new ConfigError(where, `Invalid ${v.getDotPath(issue) ?? "list"}: ${issue.message}`);
  }
  const { name, cniVersion, cniVersions, plugins } = parsed.output;
  return { name, cniVersion: negotiate(where, cniVersion, cniVersions), plugins };
}

/** With `cniVersions`, the newest of them and of `cniVersion` that we speak; else `cniVersion` as it is. */
function negotiate(
  where: string,
  single: string | undefined,
  several: readonly string[] | undefined,
): string {
  if (several === undefined) return single ?? "0.1.0";
  const spoken = [...several, ...(single === undefined ? [] : [single])]
    .map((version) => ({ version, parts: versionParts(version, where) }))
    .filter(({ parts }) => compareParts(parts, versionParts(newest, where)) <= 0)
    .sort((a, b) => compareParts(b.parts, a.parts));
  return spoken[0]?.version ?? "0.1.0";
}

function versionParts(version: string, where: string): number[] {
  if (!/^\d+(\.\d+){0,2}$/.test(version)) {
    throw new ConfigError(where, `Invalid CNI version "${version}": expected numbers like 1.0.0`);
  }
  return version.split(".").map(Number);
}

function compareParts(a: readonly number[], b: readonly number[]): number {
  for (let i = 0; i < 3; i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** DEL and CHECK carry the result of ADD from this version on. */
export const hasPrevResultOnDel = (version: string): boolean =>
  compareParts(version.split(".").map(Number), [0, 4, 0]) >= 0;

export interface RequestParts {
  /** ADD: of the plugin before; DEL: of the whole ADD. */
  readonly prevResult?: unknown;
  /** What the runtime could give; the plugin gets what it declares. */
  readonly capabilityArgs: Readonly<Record<string, unknown>>;
}

/** One plugin's standard input. */
export function requestConfig(
  list: NetworkList,
  plugin: PluginConf,
  { prevResult, capabilityArgs }: RequestParts,
): string {
  const capabilities = plugin["capabilities"];
  const declared = new Set(
    typeof capabilities === "object" && capabilities !== null
      ? Object.entries(capabilities).flatMap(([name, is]) => (is === true ? [name] : []))
      : [],
  );
  const given = Object.entries(capabilityArgs).filter(([name]) => declared.has(name));
  return JSON.stringify({
    ...plugin,
    name: list.name,
    cniVersion: list.cniVersion,
    ...(given.length === 0 ? {} : { runtimeConfig: Object.fromEntries(given) }),
    ...(prevResult === undefined ? {} : { prevResult }),
  });
}
