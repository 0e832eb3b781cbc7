// Network namespaces for lab and contract tests. Names carry the pid of their maker: whoever comes
// next removes those of a test that was killed.
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";

const prefix = "fltest";
const directory = "/run/netns";
let count = 0;

export interface TestNamespace extends Disposable {
  readonly name: string;
  /** `/run/netns/<name>`: what CNI_NETNS would say. */
  readonly path: string;
  /** Runs a command inside, returns its output, throws when it fails. */
  run(command: string, ...args: readonly string[]): string;
}

/** A new, empty network namespace with loopback up, gone when disposed. */
export function createNamespace(): TestNamespace {
  removeAbandonedNamespaces();
  const name = `${prefix}-${process.pid}-${++count}`;
  ip("netns", "add", name);
  const run = (command: string, ...args: readonly string[]): string =>
    execFileSync("ip", ["netns", "exec", name, command, ...args], { encoding: "utf8" });
  run("ip", "link", "set", "lo", "up");
  return {
    name,
    path: `${directory}/${name}`,
    run,
    [Symbol.dispose]: () => {
      if (existsSync(`${directory}/${name}`)) ip("netns", "del", name);
    },
  };
}

function removeAbandonedNamespaces(): void {
  if (!existsSync(directory)) return;
  for (const name of readdirSync(directory)) {
    const pid = new RegExp(`^${prefix}-(\\d+)-\\d+$`).exec(name)?.[1];
    if (pid === undefined || existsSync(`/proc/${pid}`)) continue;
    try {
      ip("netns", "del", name);
    } catch {
      // Another test process, starting at the same time, was faster.
    }
  }
}

const ip = (...args: readonly string[]): string =>
  execFileSync("ip", args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
