// A runtime reduced to its calls: each one process of the plugin on a lab node, with exactly the
// environment and the configuration that a sequence says.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { execa } from "execa";
import { artifacts } from "../../cli/home.ts";
import { enter, type Member, runIn } from "../../cli/lab/member.ts";
import { type NetworkList, parseNetworkList, requestConfig } from "../../cli/lab/network-list.ts";
import { outsidePath } from "../../cli/lab/node.ts";
import { paths } from "../../core/paths.ts";

const signal = new AbortController().signal;

export interface Call {
  readonly containerId?: string;
  /** CNI_NETNS as it is; "" is a sandbox that is gone. */
  readonly netns?: string;
  readonly ifName?: string;
  /** CNI_ARGS; undefined is a runtime that does not set it. */
  readonly args?: string;
  readonly prevResult?: unknown;
  /** Capability arguments, in the runtime's own spelling. */
  readonly capabilityArgs?: Readonly<Record<string, unknown>>;
  /** Further keys of the configuration: the lists of GC. */
  readonly keys?: Readonly<Record<string, unknown>>;
}

export interface Answer {
  readonly status: number | undefined;
  /** Parsed standard output; undefined when it is empty. */
  readonly output: unknown;
}

export interface Caller {
  readonly node: Member;
  /** The list that the daemon wrote, as this runtime reads it. */
  readonly list: NetworkList;
  call(command: string, call?: Call): Promise<Answer>;
  /** As `call`; throws the error object when there is one. */
  must(command: string, call?: Call): Promise<unknown>;
  /** The plugin without any CNI variable: what it says of itself. */
  probe(): Promise<string>;
  /** A new network namespace; resolves with its path. */
  createSandbox(name: string): Promise<string>;
  removeSandbox(netns: string): Promise<void>;
}

/** A runtime whose libcni knows versions up to `newest`. */
export function createCaller(node: Member, newest: "1.0.0" | "1.1.0"): Caller {
  const file = outsidePath(node, join(paths.cniConfDir, paths.conflist));
  const parsed = parseNetworkList(readFileSync(file, "utf8"), file);
  const list = { ...parsed, cniVersion: newest === "1.1.0" ? parsed.cniVersion : newest };
  const plugin = list.plugins[0]!;
  const execute = async (env: Record<string, string>, input: string): Promise<Ended> => {
    const [program, ...words] = [...enter(node), join(artifacts.plugins, plugin.type)] as const;
    const options = { env: { PATH: process.env["PATH"], ...env }, extendEnv: false } as const;
    return execa(program, words, { ...options, input, reject: false, timeout: 30_000 });
  };
  const call: Caller["call"] = async (command, of = {}) => {
    const { capabilityArgs = {}, prevResult, keys } = of;
    const config = JSON.parse(
      requestConfig(list, plugin, { prevResult, capabilityArgs }),
    ) as object;
    const { exitCode, stdout } = await execute(
      { CNI_COMMAND: command, CNI_PATH: artifacts.plugins, ...environmentOf(of) },
      JSON.stringify({ ...config, ...keys }),
    );
    return { status: exitCode, output: stdout === "" ? undefined : JSON.parse(stdout) };
  };
  return {
    node,
    list,
    call,
    must: async (command, of) => {
      const { status, output } = await call(command, of);
      if (status === 0) return output;
      throw new Error(`${command} ended with ${status}: ${JSON.stringify(output)}`);
    },
    probe: async () => {
      const { exitCode, stdout, stderr } = await execute({}, "");
      if (exitCode === 0) return `${stdout}\n${stderr}`;
      throw new Error(`the probe ended with ${exitCode}: ${stderr}`);
    },
    createSandbox: async (name) => {
      await runIn(node, ["ip", "netns", "add", name], { signal });
      return `/var/run/netns/${name}`;
    },
    removeSandbox: async (netns) => {
      await runIn(node, ["ip", "netns", "del", netns.slice("/var/run/netns/".length)], { signal });
    },
  };
}

interface Ended {
  readonly exitCode?: number;
  readonly stdout: string;
  readonly stderr: string;
}

function environmentOf({ containerId, netns, ifName, args }: Call): Record<string, string> {
  return {
    ...(containerId === undefined ? {} : { CNI_CONTAINERID: containerId }),
    ...(netns === undefined ? {} : { CNI_NETNS: netns }),
    ...(ifName === undefined ? {} : { CNI_IFNAME: ifName }),
    ...(args === undefined ? {} : { CNI_ARGS: args }),
  };
}

/** cnitool's rule: its container is known by the sandbox's path. */
export const cnitoolId = (netns: string): string =>
  `cnitool-${createHash("sha512").update(netns).digest("hex").slice(0, 20)}`;
