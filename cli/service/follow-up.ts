import { readStatus } from "../status.ts";

/** What becomes of a service that was published: the file is there, and the daemon reads it. */
export async function whatFollows(statusSocket: string, signal: AbortSignal): Promise<string> {
  try {
    await readStatus(statusSocket, signal);
    return "the daemon tells the cluster";
  } catch {
    return "no daemon answers on this node: the cluster is told when it runs";
  }
}
