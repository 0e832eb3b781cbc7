// A container runtime's way with a chain of plugins (libcni's), one process each: ADD forwards with the
// result handed on, CHECK forwards and DEL backwards with the final result.
import { expect } from "vitest";
import { parseNetworkList, requestConfig } from "../../cli/lab/network-list.ts";
import type { TwinNode } from "./twin-node.ts";

export interface ChainResult {
  readonly cniVersion: string;
  readonly interfaces: readonly { name: string; mac?: string; sandbox?: string; mtu?: number }[];
  readonly ips: readonly { address: string; gateway?: string; interface?: number }[];
  readonly routes?: readonly { dst: string; gw?: string }[];
  readonly dns?: object;
}

export interface ChainError {
  readonly plugin: string;
  readonly code: number;
  readonly msg: string;
  readonly details?: string;
}

export interface ChainOptions {
  readonly node: TwinNode;
  /** CNI_PATH. */
  readonly pluginPath: readonly string[];
  readonly conflist: object;
  readonly netns: string;
  readonly containerId?: string;
  readonly ifName?: string;
  readonly args?: string;
  readonly capabilityArgs?: Readonly<Record<string, unknown>>;
}

export type ChainCommand = "ADD" | "CHECK" | "DEL" | "STATUS" | "GC";

export interface Chain {
  /** The first plugin that fails ends it. */
  run(
    command: ChainCommand,
    prevResult?: unknown,
  ): Promise<{ readonly result?: ChainResult; readonly error?: ChainError }>;
  /** The result of an ADD that must succeed. */
  add(): Promise<ChainResult>;
  /** For CHECK and DEL that must succeed. */
  pass(command: ChainCommand, prevResult?: unknown): Promise<void>;
}

export function createChain(options: ChainOptions): Chain {
  const { node, conflist, netns, capabilityArgs = {} } = options;
  const list = parseNetworkList(JSON.stringify(conflist), "the test's conflist");
  const environment = (command: string) => ({
    PATH: "/usr/sbin:/usr/bin:/sbin:/bin",
    CNI_COMMAND: command,
    CNI_CONTAINERID: options.containerId ?? "chained",
    CNI_NETNS: netns,
    CNI_IFNAME: options.ifName ?? "eth0",
    CNI_ARGS: options.args ?? "",
    CNI_PATH: options.pluginPath.join(":"),
  });
  const run: Chain["run"] = async (command, prevResult) => {
    let result = prevResult;
    for (const plugin of command === "DEL" ? list.plugins.toReversed() : list.plugins) {
      const input = requestConfig(list, plugin, { prevResult: result, capabilityArgs });
      const find = `for d in ${options.pluginPath.join(" ")}; do [ -f $d/${plugin.type} ] && exec $d/${plugin.type}; done`;
      const { status, stdout, stderr } = await node.run(
        ["sh", "-c", find],
        environment(command),
        input,
      );
      if (status !== 0) {
        return { error: { plugin: plugin.type, ...errorObject(stdout || stderr) } };
      }
      if (command === "ADD") result = JSON.parse(stdout);
      else expect(stdout).toBe("");
    }
    return command === "ADD" ? { result: result as ChainResult } : {};
  };
  return {
    run,
    add: async () => {
      const { result, error } = await run("ADD");
      expect(error).toBeUndefined();
      return result!;
    },
    pass: async (command, prevResult) => expect(await run(command, prevResult)).toEqual({}),
  };
}

function errorObject(text: string): { code: number; msg: string; details?: string } {
  try {
    return JSON.parse(text) as { code: number; msg: string };
  } catch {
    return { code: -1, msg: text };
  }
}
