import { readFileSync } from "node:fs";
import { holderOf, type Member } from "./member.ts";
import { logTail, type ProcessStart, startProcess } from "./member-process.ts";
import { isAlive } from "./process.ts";
import { waitFor } from "./wait.ts";

export interface Port {
  readonly protocol: "tcp" | "udp";
  readonly port: number;
}

// Values of `st` in /proc/net (include/net/tcp_states.h): a UDP socket that is bound is "closed".
const readyState = { tcp: "0A", udp: "07" } as const;
const listenDeadlineMs = 10_000;

/** Starts a process in the member, as {@link startProcess}; resolves when somebody listens on the port. */
export async function startListener(
  member: Member,
  start: ProcessStart,
  { protocol, port }: Port,
  signal: AbortSignal,
): Promise<void> {
  const process = startProcess(member, start);
  // Of the holder: the process itself is not in the member's namespace from its first moment.
  const { pid } = holderOf(member);
  try {
    await waitFor(
      () => {
        if (isListening(pid, { protocol, port })) return true;
        if (!isAlive(process)) throw new Error("it ended");
        return undefined;
      },
      { what: "nobody listens", deadlineMs: listenDeadlineMs, signal },
    );
  } catch (cause) {
    signal.throwIfAborted();
    const where = `${start.name} of ${member.name} on ${protocol} port ${port}`;
    throw new Error(`Cannot start ${where}; its log ends with:\n${logTail(member, start.name)}\n`, {
      cause,
    });
  }
}

function isListening(pid: number, { protocol, port }: Port): boolean {
  const wanted = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  return ["", "6"].some((family) =>
    readFileSync(`/proc/${pid}/net/${protocol}${family}`, "utf8")
      .split("\n")
      .some((line) => {
        const [, local = "", , state] = line.trim().split(/\s+/);
        return local.endsWith(wanted) && state === readyState[protocol];
      }),
  );
}
