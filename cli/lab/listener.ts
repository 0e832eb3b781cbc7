import { readFileSync } from "node:fs";
import { holderOf, type Member } from "./member.ts";
import type { ProcessIdentity } from "./process.ts";
import { isAlive } from "./process.ts";
import { waitFor } from "./wait.ts";

// Values of `st` in /proc/net (include/net/tcp_states.h): a UDP socket that is bound is "closed".
const readyState = { tcp: "0A", udp: "07" } as const;

export interface Listening {
  readonly protocol: "tcp" | "udp";
  readonly port: number;
  /** Who should. */
  readonly process: ProcessIdentity;
  /** Completes "… did not listen". */
  readonly what: string;
}

/** Resolves when somebody in the member listens on the port. */
export async function waitForListener(
  member: Member,
  { protocol, port, process, what }: Listening,
  signal: AbortSignal,
): Promise<void> {
  // Of the holder: the process itself is not in the member's namespace from its first moment.
  const { pid } = holderOf(member);
  await waitFor(
    () => {
      if (!isAlive(process)) throw new Error(`${what} ended before it listened on port ${port}`);
      return isListening(pid, protocol, port) ? true : undefined;
    },
    { what: `${what} did not listen on port ${port}`, deadlineMs: 10_000, signal },
  );
}

function isListening(pid: number, protocol: "tcp" | "udp", port: number): boolean {
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
