// Processes of the lab. They outlive the command that starts them, and later commands know them by
// pid and start time: a pid alone may long be somebody else's.
import { readdirSync, readFileSync, statSync } from "node:fs";
import { hasErrno } from "../../core/error.ts";
import { waitFor } from "./wait.ts";

export interface ProcessIdentity {
  readonly pid: number;
  /** Clock ticks from boot to its start: proc_pid_stat(5), field 22. */
  readonly startTicks: number;
}

const killMs = 3000;

/** The process of a pid; undefined when there is none, or only a zombie. */
export function identify(pid: number): ProcessIdentity | undefined {
  try {
    // The second field is a name in parentheses that may itself hold any of these characters.
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const [state, ...fields] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return state === "Z" || state === "X" ? undefined : { pid, startTicks: Number(fields[18]) };
  } catch (error) {
    if (hasErrno(error, "ENOENT", "ESRCH")) return undefined;
    throw error;
  }
}

export const isAlive = ({ pid, startTicks }: ProcessIdentity): boolean =>
  identify(pid)?.startTicks === startTicks;

/**
 * Every process in the mount namespace of this file; none when it is our own, for those in it are the
 * machine's.
 */
export function processesInMountNamespace(file: string): ProcessIdentity[] {
  const { dev, ino } = statSync(file);
  if (ino === statSync("/proc/self/ns/mnt").ino) return [];
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        const namespace = statSync(`/proc/${pid}/ns/mnt`);
        return namespace.dev === dev && namespace.ino === ino;
      } catch {
        return false; // It ended meanwhile, or is a kernel thread.
      }
    })
    .flatMap((pid) => identify(Number(pid)) ?? []);
}

/** Asks all of them to end, then makes them; resolves when they are gone. */
export async function endProcesses(
  processes: readonly ProcessIdentity[],
  signal: AbortSignal,
  graceMs = 3000,
): Promise<void> {
  const rest = (): ProcessIdentity[] => processes.filter(isAlive);
  const gone = (): true | undefined => (rest().length === 0 ? true : undefined);
  const what = (): string =>
    `Processes ${rest()
      .map(({ pid }) => pid)
      .join(" ")} did not end`;
  for (const process of rest()) send(process, "SIGTERM");
  try {
    await waitFor(gone, { what: what(), deadlineMs: graceMs, signal });
  } catch {
    for (const process of rest()) send(process, "SIGKILL");
    await waitFor(gone, { what: what(), deadlineMs: killMs, signal: new AbortController().signal });
  }
}

function send({ pid }: ProcessIdentity, signalName: "SIGTERM" | "SIGKILL"): void {
  try {
    process.kill(pid, signalName);
  } catch (error) {
    if (!hasErrno(error, "ESRCH")) throw error;
  }
}
