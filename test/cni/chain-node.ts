// A node that serves requests, one sandbox, and the life of a chain of plugins there.
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, vi } from "vitest";
import { type Chain, type ChainOptions, type ChainResult, createChain } from "./chain-runner.ts";
import { type TwinNode, createSandbox, createTwinNode, serveOn } from "./twin-node.ts";

const root = join(import.meta.dirname, "../..");
/** Ours as built, and the reference plugins. */
export const pluginPath = [join(root, "dist/cni"), "/usr/lib/cni"];
export const build = (): Buffer =>
  execFileSync(process.execPath, ["scripts/build.ts"], { cwd: root, stdio: "pipe" });

/** Against hanging alone. */
export const waiting = { timeout: 30_000, interval: 20 };

/** Writes a plugin of which ADD prints `result` and other verbs run `rest`; CNI_PATH with it in front. */
export function writePlugin(
  directory: string,
  { name, result, rest = "true" }: { name: string; result: object; rest?: string },
): readonly string[] {
  const script = `#!/bin/sh
cat >/dev/null
[ "$CNI_COMMAND" != ADD ] || { echo '${JSON.stringify(result)}'; exit; }
${rest}
`;
  writeFileSync(join(directory, name), script, { mode: 0o755 });
  return [directory, ...pluginPath];
}

export interface ChainNode extends AsyncDisposable {
  readonly node: TwinNode;
  /** The sandbox's path. */
  readonly netns: string;
  /** Runs a command, gives its output, throws when it fails. */
  onNode(...command: readonly string[]): Promise<string>;
  inPod(...command: readonly string[]): Promise<string>;
  ping(address: string): Promise<string>;
  chainOf(
    plugins: readonly object[],
    more?: Partial<ChainOptions> & { readonly version?: string; readonly name?: string },
  ): Chain;
  /** ADD, CHECK (of `checked`), what is to be seen, DEL twice, nothing left. */
  live(chain: Chain, look: (result: ChainResult) => Promise<void>, checked?: Chain): Promise<void>;
  expectClean(): Promise<void>;
}

// Everything that an attachment could leave: links, routes, neighbors, shaping, host ports, records,
// leases.
const stateScript = `ip -o link | sed 's/ qdisc.*//'; ip route; ip -6 route show proto 76
ip neighbor show nud permanent; tc qdisc | grep tbf
nft list table inet fairlead 2>&1 | grep -oE "(tcp|udp|sctp) \\. [0-9]+ : [^ ,]+"
find /run/fairlead/attachments /run/cni -type f
find /var/lib/cni -type f | grep -v -e lock -e last_reserved; true`;

export async function openChainNode(): Promise<ChainNode> {
  await using stack = new AsyncDisposableStack();
  const sandbox = stack.use(await createSandbox());
  const node = stack.use(await createTwinNode());
  await serveOn(node);
  const onNode = async (...command: readonly string[]): Promise<string> => {
    const { status, stdout, stderr } = await node.run(command, process.env);
    if (status !== 0) throw new Error(`${command.join(" ")}: ${stderr}${stdout}`);
    return stdout;
  };
  const inPod = (...command: readonly string[]) =>
    onNode("nsenter", `--net=${sandbox.path}`, ...command);
  const state = () => onNode("sh", "-c", stateScript);
  await onNode("sysctl", "-qw", "net.ipv4.ip_forward=1");
  const clean = await state();
  // The interface goes 20 ms after the answer.
  const expectClean = () =>
    vi.waitFor(async () => {
      expect(await inPod("ip", "-o", "link")).toMatch(/^1: lo:.*\n$/);
      expect(await state()).toBe(clean);
    }, waiting);
  const owned = stack.move();
  return {
    node,
    netns: sandbox.path,
    onNode,
    inPod,
    ping: (address) => onNode("ping", "-c1", "-W2", address),
    chainOf: (plugins, { version = "1.0.0", name = "fairlead", ...more } = {}) =>
      createChain({
        node,
        netns: sandbox.path,
        pluginPath,
        conflist: { cniVersion: version, name, plugins },
        ...more,
      }),
    live: async (chain, look, checked = chain) => {
      const result = await chain.add();
      await checked.pass("CHECK", result);
      await look(result);
      await chain.pass("DEL", result);
      await chain.pass("DEL");
      await expectClean();
    },
    expectClean,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
