// Which network namespaces somebody on this machine still has: a process is in it, has it open, or a
// mount pins it (as runtimes do under /run/netns), in whatever mount namespace.
import { readFileSync, readdirSync, readlinkSync } from "node:fs";
import { setImmediate } from "node:timers/promises";
import { hasErrno } from "../core/error.ts";

/** Inode of the first PID namespace, <linux/proc_ns.h>: only there are all processes seen. */
const firstPidNamespace = "pid:[4026531836]";
const proc = "/proc";
// Some milliseconds of work; then others have their turn.
const processesAtOnce = 20;

/**
 * The inodes of their nsfs files. Undefined when not all processes can be seen from here, or not what one
 * of them has: then nothing can be said of what is not among them.
 */
export async function liveNetworkNamespaces(
  signal: AbortSignal,
  machine = firstPidNamespace,
): Promise<ReadonlySet<number> | undefined> {
  if (link(`${proc}/self/ns/pid`) !== machine) return undefined;
  try {
    return await seenNamespaces(signal);
  } catch (cause) {
    if (hasErrno(cause, "EACCES", "EPERM")) return undefined;
    throw cause;
  }
}

async function seenNamespaces(signal: AbortSignal): Promise<ReadonlySet<number>> {
  const live = new Set<number>();
  const mountNamespaces = new Set<string>();
  let count = 0;
  for (const pid of readdirSync(proc)) {
    if (!/^\d+$/.test(pid)) continue;
    note(live, link(`${proc}/${pid}/ns/net`));
    for (const fd of list(`${proc}/${pid}/fd`)) note(live, link(`${proc}/${pid}/fd/${fd}`));
    const mounts = link(`${proc}/${pid}/ns/mnt`);
    if (mounts !== "" && !mountNamespaces.has(mounts)) {
      mountNamespaces.add(mounts);
      // Field 4 of a mount of nsfs is the namespace: proc_pid_mountinfo(5).
      for (const [, name] of text(`${proc}/${pid}/mountinfo`).matchAll(/ (net:\[\d+\]) /g)) {
        note(live, name ?? "");
      }
    }
    if (++count % processesAtOnce === 0) await setImmediate(undefined, { signal });
  }
  return live;
}

/** For people, when {@link liveNetworkNamespaces} gives undefined. */
export const namespacesUnseen =
  "Cannot tell which sandboxes live: not all processes of the machine are seen from here, " +
  "expected its first PID namespace and root's rights";

function note(live: Set<number>, name: string): void {
  const inode = /^net:\[(\d+)\]$/.exec(name)?.[1];
  if (inode !== undefined) live.add(Number(inode));
}

// A process may end while it is looked at.
const link = (path: string): string => unlessGone(() => readlinkSync(path), "");
const text = (path: string): string => unlessGone(() => readFileSync(path, "utf8"), "");
const list = (path: string): readonly string[] => unlessGone(() => readdirSync(path), []);

function unlessGone<T>(read: () => T, otherwise: T): T {
  try {
    return read();
  } catch (cause) {
    if (hasErrno(cause, "ENOENT", "ESRCH", "EINVAL")) return otherwise;
    throw cause;
  }
}
