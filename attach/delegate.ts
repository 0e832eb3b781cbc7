// Address management by another program (specification: "Delegated plugins"): found in CNI_PATH, run
// with the caller's environment but for the verb, and the whole of standard input.
import { statSync } from "node:fs";
import { join } from "node:path";
import * as v from "valibot";
import { ownIpamType, pluginType } from "../core/cni/config.ts";
import { CniCode, CniError } from "../core/cni/error.ts";
import type { CniCommand, Environment, NetConf } from "../core/cni/types.ts";
import type { Log } from "../core/log.ts";

export interface DelegateCall {
  readonly command: Exclude<CniCommand, "VERSION">;
  readonly conf: NetConf;
  /** The plugin; absent: the configuration's. */
  readonly type?: string;
  /** On standard input; absent: the request as it came. */
  readonly input?: string;
  readonly environment: Environment;
  readonly log: Log;
}

// Below the 20 s that a whole request may take, so that there is time left to undo.
const timeoutMs = 15_000;
const outputLimit = 1_048_576;

/**
 * Runs `ipam.type` with the verb; what it printed on standard output. Throws CniError: the plugin's
 * own error, code kept, or what kept it from running.
 */
export async function callDelegate(call: DelegateCall, signal: AbortSignal): Promise<string> {
  const { command, conf, environment, log, type = conf.ipam.type, input = conf.raw } = call;
  const file = findDelegate(type, environment["CNI_PATH"] ?? "");
  // 99 ms to load: only where a delegate is configured.
  const { execa } = await import("execa");
  const outcome = await execa(file, [], {
    env: { ...environment, CNI_COMMAND: command },
    extendEnv: false,
    input,
    timeout: timeoutMs,
    forceKillAfterDelay: 500,
    maxBuffer: outputLimit,
    cancelSignal: signal,
    reject: false,
  });
  if (outcome.stderr !== "") {
    log.info({ plugin: type, command, stderr: outcome.stderr }, "delegated plugin said");
  }
  if (!outcome.failed) return outcome.stdout;
  if (outcome.isCanceled) signal.throwIfAborted();
  if (outcome.timedOut) {
    throw new CniError(
      CniCode.tryAgainLater,
      `Cannot get an answer of IPAM plugin "${type}" to ${command} within ${timeoutMs} ms`,
    );
  }
  throw (
    errorOf(outcome.stdout) ??
    new CniError(CniCode.internal, `Cannot run IPAM plugin "${type}" for ${command}`, {
      details: outcome.shortMessage ?? "",
    })
  );
}

/**
 * The request with the delegated plugin's own result in the place of ours. Its gateways are not the
 * pod's, and the reference plugin static compares them.
 */
export function withOwnResult({ raw }: NetConf, result: string): string {
  const request = Object.entries(v.parse(objectSchema, JSON.parse(raw))).filter(
    ([key]) => key.toLowerCase() !== "prevresult",
  );
  const prevResult: unknown = JSON.parse(result);
  return JSON.stringify({ ...Object.fromEntries(request), prevResult });
}

const objectSchema = v.record(v.string(), v.unknown());

/** `<dir>/<type>` in the first directory of CNI_PATH that has it as a file, links followed. */
export function findDelegate(type: string, cniPath: string): string {
  if (type === "" || /[/\0]/.test(type)) {
    throw new CniError(
      CniCode.invalidConfig,
      `Invalid ipam.type "${type}": expected the file name of a plugin in CNI_PATH`,
    );
  }
  if (type === pluginType) {
    throw new CniError(
      CniCode.invalidConfig,
      `Invalid ipam.type "${type}": expected an IPAM plugin, such as "${ownIpamType}"`,
    );
  }
  const files = cniPath
    .split(":")
    .filter((directory) => directory !== "")
    .map((directory) => join(directory, type));
  const file = files.find((path) => statSync(path, { throwIfNoEntry: false })?.isFile() === true);
  if (file !== undefined) return file;
  throw new CniError(
    CniCode.invalidConfig,
    `Cannot find IPAM plugin "${type}": no such file in CNI_PATH "${cniPath}"`,
  );
}

// The plugin's error object (specification: "Error"); undefined when it printed something else.
function errorOf(stdout: string): CniError | undefined {
  let value: unknown;
  try {
    value = JSON.parse(stdout);
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null || !("code" in value)) return undefined;
  const { code } = value;
  if (typeof code !== "number") return undefined;
  const text = (key: "msg" | "details"): string => {
    const found: unknown = Reflect.get(value, key);
    return typeof found === "string" ? found : "";
  };
  return new CniError(code, text("msg"), { details: text("details") });
}
