import { existsSync } from "node:fs";
import { join } from "node:path";
import { paths } from "../../core/paths.ts";
import type { Member } from "./member.ts";
import { logTail, startProcess } from "./member-process.ts";
import { outsidePath } from "./node.ts";
import { isAlive } from "./process.ts";
import { waitFor } from "./wait.ts";

const readyDeadlineMs = 15_000;

/** Starts the node's daemon; resolves with the milliseconds until its conflist was there. */
export async function startDaemon(
  node: Member,
  command: string,
  signal: AbortSignal,
): Promise<number> {
  const start = performance.now();
  const daemon = startProcess(node, { name: "daemon", command: [command, "daemon"] });
  const conflist = outsidePath(node, join(paths.cniConfDir, paths.conflist));
  try {
    await waitFor(
      () => {
        if (existsSync(conflist)) return true;
        if (!isAlive(daemon)) throw new Error("it ended");
        return undefined;
      },
      { what: "no conflist", deadlineMs: readyDeadlineMs, signal },
    );
  } catch (cause) {
    signal.throwIfAborted();
    throw new Error(
      `The daemon of ${node.name} did not get ready; its log ends with:\n${logTail(node, "daemon")}\n`,
      { cause },
    );
  }
  return performance.now() - start;
}
