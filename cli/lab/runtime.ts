// A container runtime's way with CNI plugins, as libcni does it: the conflist from the node's
// /etc/cni/net.d, one process per plugin with environment and standard input, the result kept in
// /var/lib/cni/results for DEL.
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { execa } from "execa";
import * as v from "valibot";
import { paths } from "../../core/paths.ts";
import { enter, type Member } from "./member.ts";
import {
  hasPrevResultOnDel,
  type NetworkList,
  parseNetworkList,
  type PluginConf,
  requestConfig,
  type RequestParts,
} from "./network-list.ts";
import { outsidePath } from "./node.ts";

/** The runtime of one node. */
export interface Runtime {
  readonly node: Member;
  /** Where plugins are looked for, in order: CNI_PATH. */
  readonly pluginPath: readonly string[];
}

/** What a runtime says of one attachment; the same for ADD and DEL. */
export interface RuntimeAttachment {
  readonly containerId: string;
  /** A path inside the node. */
  readonly netns: string;
  readonly ifName: string;
  /** CNI_ARGS, in order. */
  readonly args: readonly (readonly [string, string])[];
}

/** One plugin's process. */
export interface PluginRun {
  readonly plugin: string;
  /** From before the process starts to after it ended, milliseconds. */
  readonly ms: number;
}

export interface AddOutcome {
  readonly network: string;
  readonly result: AddResult;
  readonly runs: readonly PluginRun[];
}

/** A plugin's error object, or what is known when it gave none. */
export class PluginFailure extends Error {
  readonly code: number;

  constructor(plugin: string, code: number, message: string) {
    super(`Plugin ${plugin} failed (code ${code}): ${message}`);
    this.name = "PluginFailure";
    this.code = code;
  }
}

const strings = v.optional(v.array(v.string()), []);
const addResultSchema = v.looseObject({
  ips: v.array(v.looseObject({ address: v.string() })),
  dns: v.optional(
    v.looseObject({
      nameservers: strings,
      domain: v.optional(v.string()),
      search: strings,
      options: strings,
    }),
    {},
  ),
});
/** The part of a result that the lab uses; `raw` keeps all of it. */
export type AddResult = v.InferOutput<typeof addResultSchema>;

const errorSchema = v.object({
  code: v.number(),
  msg: v.string(),
  details: v.optional(v.string(), ""),
});
const cacheSchema = v.object({ config: v.string(), result: v.unknown() });

const pluginTimeoutMs = 30_000;
const cacheDirectory = "/var/lib/cni/results";

/** ADD through the whole chain. A failure is thrown as it is; undoing is the caller's DEL. */
export async function addToNetwork(
  runtime: Runtime,
  attachment: RuntimeAttachment,
  signal: AbortSignal,
): Promise<AddOutcome> {
  const { text, list } = loadNetwork(runtime.node);
  const runs: PluginRun[] = [];
  let result: unknown;
  for (const plugin of list.plugins) {
    const call: PluginCall = { command: "ADD", list, plugin, prevResult: result, attachment };
    const { run, stdout } = await callPlugin(runtime, call, signal);
    runs.push(run);
    result = JSON.parse(stdout);
  }
  const parsed = v.parse(addResultSchema, result);
  writeCache(runtime.node, { text, list, attachment, result });
  return { network: list.name, result: parsed, runs };
}

/** DEL through the chain in reverse, by the configuration and result that ADD left. */
export async function removeFromNetwork(
  runtime: Runtime,
  attachment: RuntimeAttachment,
  signal: AbortSignal,
): Promise<readonly PluginRun[]> {
  const cached = readCache(runtime.node, attachment);
  const list = cached?.list ?? loadNetwork(runtime.node).list;
  const prevResult = hasPrevResultOnDel(list.cniVersion) ? cached?.result : undefined;
  const runs: PluginRun[] = [];
  for (const plugin of list.plugins.toReversed()) {
    const call: PluginCall = { command: "DEL", list, plugin, prevResult, attachment };
    runs.push((await callPlugin(runtime, call, signal)).run);
  }
  for (const file of cacheFiles(runtime.node, attachment)) rmSync(file, { force: true });
  return runs;
}

/** The first conflist of the node by name, as every runtime but a by-name one takes it. */
function loadNetwork(node: Member): { readonly text: string; readonly list: NetworkList } {
  const directory = outsidePath(node, paths.cniConfDir);
  const files = existsSync(directory) ? readdirSync(directory) : [];
  const [first] = files.filter((name) => name.endsWith(".conflist")).sort();
  if (first === undefined) {
    throw new Error(`No network in ${paths.cniConfDir} of ${node.name}: expected a .conflist file`);
  }
  const text = readFileSync(join(directory, first), "utf8");
  return { text, list: parseNetworkList(text, `${node.name}: ${join(paths.cniConfDir, first)}`) };
}

interface PluginCall extends Omit<RequestParts, "capabilityArgs"> {
  readonly command: "ADD" | "DEL";
  readonly list: NetworkList;
  readonly plugin: PluginConf;
  readonly attachment: RuntimeAttachment;
}

async function callPlugin(
  { node, pluginPath }: Runtime,
  { command, list, plugin, prevResult, attachment }: PluginCall,
  signal: AbortSignal,
): Promise<{ readonly run: PluginRun; readonly stdout: string }> {
  const [file, ...words] = [...enter(node), findPlugin(node, pluginPath, plugin.type)] as const;
  const input = requestConfig(list, plugin, { prevResult, capabilityArgs: {} });
  const start = performance.now();
  const { failed, exitCode, stdout, stderr, originalMessage } = await execa(file, words, {
    env: {
      CNI_COMMAND: command,
      CNI_CONTAINERID: attachment.containerId,
      CNI_NETNS: attachment.netns,
      CNI_IFNAME: attachment.ifName,
      CNI_ARGS: attachment.args.map(([key, value]) => `${key}=${value}`).join(";"),
      CNI_PATH: pluginPath.join(":"),
    },
    input,
    timeout: pluginTimeoutMs,
    cancelSignal: signal,
    reject: false,
  });
  const ms = performance.now() - start;
  signal.throwIfAborted();
  if (!failed) return { run: { plugin: plugin.type, ms }, stdout };
  throw pluginFailure(
    plugin.type,
    stdout,
    `${stderr} ${originalMessage ?? ""} (${exitCode ?? "killed"})`,
  );
}

function pluginFailure(plugin: string, stdout: string, otherwise: string): PluginFailure {
  try {
    const { code, msg, details } = v.parse(errorSchema, JSON.parse(stdout));
    return new PluginFailure(plugin, code, details === "" ? msg : `${msg}: ${details}`);
  } catch {
    return new PluginFailure(plugin, 0, stdout === "" ? otherwise : `no error object: ${stdout}`);
  }
}

function findPlugin(node: Member, pluginPath: readonly string[], type: string): string {
  if (type.includes("/")) throw new Error(`Invalid plugin type "${type}": expected a file name`);
  const found = pluginPath
    .map((directory) => join(directory, type))
    .find((file) => statSync(outsidePath(node, file), { throwIfNoEntry: false })?.isFile());
  if (found === undefined) throw new Error(`No plugin "${type}" in ${pluginPath.join(":")}`);
  return found;
}

interface CacheEntry {
  readonly text: string;
  readonly list: NetworkList;
  readonly attachment: RuntimeAttachment;
  readonly result: unknown;
}

/** libcni's file, "cniCacheV1". */
function writeCache(node: Member, { text, list, attachment, result }: CacheEntry): void {
  const directory = outsidePath(node, cacheDirectory);
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const { containerId, ifName, netns, args } = attachment;
  const entry = {
    kind: "cniCacheV1",
    containerId,
    config: Buffer.from(text).toString("base64"),
    ifName,
    networkName: list.name,
    netns,
    cniArgs: args,
    result,
  };
  writeFileSync(join(directory, `${list.name}-${containerId}-${ifName}`), JSON.stringify(entry), {
    mode: 0o600,
  });
}

/** What ADD left for this attachment; undefined when nothing, or nothing readable, is there. */
function readCache(
  node: Member,
  attachment: RuntimeAttachment,
): { readonly list: NetworkList; readonly result: unknown } | undefined {
  const [file] = cacheFiles(node, attachment);
  if (file === undefined) return undefined;
  try {
    const { config, result } = v.parse(cacheSchema, JSON.parse(readFileSync(file, "utf8")));
    return { list: parseNetworkList(Buffer.from(config, "base64").toString(), file), result };
  } catch {
    return undefined;
  }
}

// By the end of the name: the network may be gone from the configuration since.
function cacheFiles(node: Member, { containerId, ifName }: RuntimeAttachment): string[] {
  const directory = outsidePath(node, cacheDirectory);
  const names = existsSync(directory) ? readdirSync(directory) : [];
  return names
    .filter((name) => name.endsWith(`-${containerId}-${ifName}`))
    .map((name) => join(directory, name));
}
