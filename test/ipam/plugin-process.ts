// IPAM plugins executed as a runtime executes them: host-local's Go binary, and ours under its name.
import { spawn } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";

export const referenceDir = "/usr/lib/cni";

/** A directory for CNI_PATH in which `fairlead-ipam` is this source, not yet bundled. */
export interface PluginDir extends Disposable {
  readonly path: string;
}

export function createPluginDir(): PluginDir {
  const path = mkdtempSync(join(tmpdir(), "fairlead-cni-"));
  const main = join(import.meta.dirname, "../../ipam/main.ts");
  const file = join(path, "fairlead-ipam");
  writeFileSync(file, `#!/bin/sh\nexec "${process.execPath}" "${main}" "$@"\n`);
  chmodSync(file, 0o755);
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true }) };
}

export interface PluginCall {
  readonly plugin: string;
  readonly command: string;
  readonly conf: object;
  readonly container: string;
  readonly ifName?: string;
  readonly netns?: string;
  readonly cniPath?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Then the process is killed (SIGKILL), if there is one still. */
  readonly killAfterMs?: number | undefined;
  /** Words put in front: `ip netns exec NAME`. */
  readonly within?: readonly string[];
}

export interface PluginAnswer {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** It was killed before it had ended by itself. */
  readonly isKilled: boolean;
}

export async function callPlugin(call: PluginCall): Promise<PluginAnswer> {
  const [program, ...args] = [...(call.within ?? []), call.plugin];
  const child = spawn(program, args, {
    env: {
      PATH: process.env["PATH"],
      CNI_COMMAND: call.command,
      CNI_CONTAINERID: call.container,
      CNI_IFNAME: call.ifName ?? "eth0",
      CNI_NETNS: call.netns ?? "/run/netns/none",
      CNI_PATH: call.cniPath ?? referenceDir,
      ...call.env,
    },
    stdio: "pipe",
  });
  const status = new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  // A process that is killed does not read its input.
  child.stdin.on("error", () => undefined);
  const kill = (): void => void child.kill("SIGKILL");
  const timer = call.killAfterMs === undefined ? undefined : setTimeout(kill, call.killAfterMs);
  child.stdin.end(JSON.stringify(call.conf));
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
  const answer = { status: await status, stdout, stderr };
  clearTimeout(timer);
  return { ...answer, isKilled: child.signalCode === "SIGKILL" };
}
