// What attachments and labs leave behind: nothing. Compared is everything there was before.
import { existsSync, readdirSync } from "node:fs";
import { join, relative } from "node:path";
import { isMounted, mountPoints } from "../../cli/lab/directory.ts";
import { execute } from "../../cli/lab/execute.ts";
import { enter, type Member } from "../../cli/lab/member.ts";
import { outsidePath } from "../../cli/lab/node.ts";
import { waitFor } from "../../cli/lab/wait.ts";
import { nodeOf } from "../../cli/lab/lab.ts";
import { paths } from "../../core/paths.ts";
import type { Claim } from "./claim.ts";
import type { Stage } from "./stage.ts";

/** One line for each object of the network stack, and for each file that an attachment may leave. */
export async function observeNode(node: Member, signal: AbortSignal): Promise<readonly string[]> {
  return [...(await observeNetwork(enter(node), signal)), ...attachmentFiles(node)].sort();
}

/** By node name. */
export type ObservedNodes = ReadonlyMap<string, readonly string[]>;

export async function observeNodes({ lab, signal }: Stage): Promise<ObservedNodes> {
  const observed = lab.nodes.map(
    async (name) => [name, await observeNode(nodeOf(lab, name), signal)] as const,
  );
  return new Map(await Promise.all(observed));
}

/** Links, addresses, routes, permanent neighbors, nftables, of where `prefix` leads. */
export async function observeNetwork(
  prefix: readonly string[],
  signal: AbortSignal,
): Promise<readonly string[]> {
  const script = `
ip -br link show | sed 's/ .*//; s/^/link /'
ip -br address show | sed 's/ \\+/ /g; s/^/address /'
ip route show table all | sed 's/^/route /'
ip neighbor show nud permanent | sed 's/^/neighbor /'
nft -s list ruleset | sed 's/^/nft /'`;
  const output = await execute(["env", ...prefix, "sh", "-euc", script], { signal });
  // The kernel's own link-local addresses come late, after duplicate address detection.
  const lines = output.split("\n").filter((line) => !line.includes(" fe80::"));
  return lines.map((line) => line.trimEnd());
}

// host-local's own: they are there from the first lease on, and say nothing of any attachment.
const isKept = (name: string): boolean => name === "lock" || name.startsWith("last_reserved_ip.");

function attachmentFiles(node: Member): string[] {
  const directories = [paths.leases, "/var/lib/cni/results", paths.attachments, "/run/netns"];
  return directories.flatMap((directory) => {
    const seen = outsidePath(node, directory);
    if (!existsSync(seen)) return [];
    return readdirSync(seen, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && !isKept(entry.name))
      .map(
        (entry) => `file ${join(directory, relative(seen, join(entry.parentPath, entry.name)))}`,
      );
  });
}

/** Interfaces are reaped after DEL has answered, namespaces after the last process. */
export const remainsDeadlineMs = 5000;

/** Waits until `observe` gives no line that was not there `before`; resolves with those that stay. */
export async function linesLeft(
  before: readonly string[],
  observe: () => Promise<readonly string[]>,
  { deadlineMs, signal }: { readonly deadlineMs: number; readonly signal: AbortSignal },
): Promise<readonly string[]> {
  const known = new Set(before);
  const left = async (): Promise<readonly string[]> =>
    (await observe()).filter((line) => !known.has(line));
  try {
    return await waitFor(
      async () => {
        const lines = await left();
        return lines.length === 0 ? lines : undefined;
      },
      { what: "something is left", deadlineMs, signal },
    );
  } catch {
    signal.throwIfAborted();
    return left();
  }
}

/** What is left of a lab's directory: itself, and mounts at or below it. */
export function traceOfLab(directory: string): string[] {
  const mounts = mountPoints().filter((point) => point.startsWith(`${directory}/`));
  return [
    ...(existsSync(directory) ? [directory] : []),
    ...(isMounted(directory) ? [`mount at ${directory}`] : []),
    ...mounts.map((point) => `mount at ${point}`),
  ];
}

// Names, numbers and addresses of the lab: a busy machine's own network changes meanwhile, and may.
const ofLab =
  /fl-vxlan|fl[0-9a-f]{12}|port(\d+|-outside)@|^link link\d|proto 76|inet fairlead|10\.244\.|172\.30\.|203\.0\.113\./;

/** The machine's own network now; later, whether anything of the lab came to be in it. */
export async function watchMachine(
  signal: AbortSignal,
): Promise<{ claimUntouched(trace: () => readonly string[]): Promise<Claim> }> {
  const observe = (): Promise<readonly string[]> => observeNetwork([], signal);
  const before = await observe();
  return {
    claimUntouched: async (trace) => {
      const all = async (): Promise<readonly string[]> => [
        ...(await observe()).filter((line) => ofLab.test(line)),
        ...trace(),
      ];
      const left = await linesLeft(before, all, { deadlineMs: remainsDeadlineMs, signal });
      return {
        text: "after the lab no namespace, mount or file is left, and the machine's network is untouched",
        seen: left.length === 0 ? "nothing left" : left.join("; "),
        isTrue: left.length === 0,
      };
    },
  };
}
