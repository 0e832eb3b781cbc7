// Linux shares out processor time between sessions, then within them (sched(7), autogroup): what `nice`
// says of a process counts among those of its session, and a daemon has a session of its own.
import { existsSync, readFileSync, readdirSync, readlinkSync, writeFileSync } from "node:fs";
import { getPriority } from "node:os";

/** Gives this process's niceness to its session and to the daemon's, until disposed to its own. */
export function shareNiceness(daemonPid: string): Disposable {
  const own = "/proc/self/autogroup";
  if (!existsSync(own)) return { [Symbol.dispose]: () => {} };
  const before = /nice (-?\d+)/.exec(readFileSync(own, "utf8"))?.[1] ?? "0";
  for (const file of [own, `/proc/${daemonPid}/autogroup`]) {
    writeFileSync(file, String(getPriority()));
  }
  return { [Symbol.dispose]: () => writeFileSync(own, before) };
}

/** The lab node's, which is to say that of this network namespace. */
export function findDaemon(): string {
  const own = readlinkSync("/proc/self/ns/net");
  const found = readdirSync("/proc").find((pid) => {
    try {
      const words = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
      return words[2] === "daemon" && readlinkSync(`/proc/${pid}/ns/net`) === own;
    } catch {
      return false; // No process, or it ended meanwhile.
    }
  });
  if (found === undefined) throw new Error("There is no daemon in this node");
  return found;
}
