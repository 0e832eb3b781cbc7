import { readFileSync } from "node:fs";
import type { ProcessIdentity } from "./process.ts";
import { isAlive } from "./process.ts";
import { waitFor } from "./wait.ts";

// Values of `st` in /proc/net (include/net/tcp_states.h): a UDP socket that is bound is "closed".
const readyState = { tcp: "0A", udp: "07" } as const;

/** Resolves when somebody in the process's network namespace listens on the port. */
export async function waitForListener(
  process: ProcessIdentity,
  {
    protocol,
    port,
    what,
  }: { readonly protocol: "tcp" | "udp"; readonly port: number; readonly what: string },
  signal: AbortSignal,
): Promise<void> {
  await waitFor(
    () => {
      if (!isAlive(process)) throw new Error(`${what} ended before it listened on port ${port}`);
      return isListening(process.pid, protocol, port) ? true : undefined;
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
