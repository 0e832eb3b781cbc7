// What the daemon says of itself: one JSON object to whoever connects to the status socket.
import { chmodSync, mkdirSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { dirname } from "node:path";
import { describeError } from "../../core/error.ts";
import type { Log } from "../../core/log.ts";
import type { StatusReport } from "../../core/status.ts";

/** A client that does not take its report within this time is cut off. */
const clientMs = 3000;
const mostClients = 32;

/** Serves until disposed; only root may connect. The caller makes sure that no other daemon does. */
export async function serveStatus(
  socketPath: string,
  report: () => StatusReport,
  log: Log,
): Promise<AsyncDisposable> {
  const server = createServer((socket) => {
    socket.setTimeout(clientMs, () => socket.destroy());
    socket.on("error", (error) => log.debug({ problem: describeError(error) }, "status client"));
    socket.end(`${JSON.stringify(report())}\n`);
  });
  server.maxConnections = mostClients;
  mkdirSync(dirname(socketPath), { recursive: true, mode: 0o755 });
  rmSync(socketPath, { force: true });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once("error", reject);
  server.listen(socketPath, resolve);
  await promise;
  chmodSync(socketPath, 0o600);
  return {
    [Symbol.asyncDispose]: () => new Promise((resolve) => server.close(() => resolve())),
  };
}
