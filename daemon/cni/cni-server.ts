// The socket that launchers bring CNI requests to, one connection each.
import { chmodSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { dirname } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { deadlines as launcherDeadlines } from "../../core/cni/launcher-protocol.ts";
import { describeError, hasErrno } from "../../core/error.ts";
import type { Log } from "../../core/log.ts";
import { type Listening, listenAt } from "../../kernel/unix-socket.ts";
import { AcceptedSocket } from "./accepted-socket.ts";
import { inTurnByAttachment } from "./attachment-queue.ts";
import { type CniDeadlines, type ProgramHandlers, serveConnection } from "./cni-connection.ts";
import { Promptness } from "./promptness.ts";
import type { PutOff } from "./put-off.ts";

export interface CniServerOptions {
  readonly socketPath: string;
  readonly handlers: ProgramHandlers;
  readonly log: Log;
  /** Takes what requests leave to be closed; emptied before each. */
  readonly putOff?: PutOff;
  /** Told with each request how many others wait for their turn. */
  readonly onWaiting?: (count: number) => void;
  /** For tests, which cannot wait for the usual ones. */
  readonly deadlines?: CniDeadlines;
}

const usualDeadlines: CniDeadlines = { receiveMs: 2_000, ...launcherDeadlines };
// More than any burst of pods brings. Who comes above it is cut off, tries again and then does without
// the daemon.
const connectionLimit = 1_024;
// How long requests in flight may keep a daemon from stopping.
const stopDeadlineMs = 3_000;

/**
 * Serves until disposed: then it takes no more requests, and gives those in flight three seconds. A
 * socket that a dead daemon left is replaced. Throws when a living one serves there.
 */
export async function serveCni(options: CniServerOptions): Promise<AsyncDisposable> {
  const { socketPath, log, putOff, onWaiting, deadlines = usualDeadlines } = options;
  // In turn for each program by itself: one never waits for the other.
  const handlers = {
    fairlead: inTurnByAttachment(options.handlers.fairlead),
    "fairlead-ipam": inTurnByAttachment(options.handlers["fairlead-ipam"]),
  };
  const promptness = new Promptness(() => performance.now());
  const context = { handlers, log, deadlines, putOff, promptness };
  const sockets = new Set<AcceptedSocket>();
  const requests = new Set<Promise<void>>();

  const onConnection = (fd: number, waiting: number): void => {
    onWaiting?.(waiting);
    putOff?.flush();
    // A close follows; that of a launcher that was killed is nothing to report.
    const socket = new AcceptedSocket(fd, (err) => log.debug({ err }, "CNI connection failed"));
    if (sockets.size >= connectionLimit) return socket.destroy();
    sockets.add(socket);
    void socket.closed.then(() => sockets.delete(socket));
    const request = serveConnection(socket, context)
      .catch((error: unknown) => {
        log.warn({ problem: describeError(error) }, "CNI connection refused");
        socket.destroy();
      })
      .finally(() => requests.delete(request));
    requests.add(request);
  };
  const onError = (err: Error): void => log.error({ err }, "CNI socket failed");
  const listening = await listen({ path: socketPath, onConnection, onError });

  return {
    [Symbol.asyncDispose]: async () => {
      rmSync(socketPath, { force: true });
      listening[Symbol.dispose]();
      const stopped = Promise.allSettled(requests);
      await Promise.race([stopped, delay(stopDeadlineMs, undefined, { ref: false })]);
      // A reply that is written already still arrives: this socket is only closed.
      const closed = Array.from(sockets, (socket) => socket.closed);
      for (const socket of sockets) socket.destroySoon();
      await Promise.all(closed);
    },
  };
}

// Bound under another name and then renamed, so that the socket appears complete: listening, and
// root's alone.
async function listen({ path, ...options }: Listening): Promise<Disposable> {
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
  if (await isServed(path)) throw new Error(`Cannot serve "${path}": another daemon does`);
  const temporary = `${path}.${process.pid}`;
  rmSync(temporary, { force: true });
  const listening = listenAt({ ...options, path: temporary });
  chmodSync(temporary, 0o600);
  renameSync(temporary, path);
  return listening;
}

/** Whether somebody takes connections there; a socket without a listener, or nothing, is nobody. */
async function isServed(path: string): Promise<boolean> {
  const { promise, resolve, reject } = Promise.withResolvers<boolean>();
  const socket = connect(path);
  socket.once("connect", () => resolve(true));
  socket.once("error", (error) => {
    if (hasErrno(error, "ENOENT", "ECONNREFUSED")) resolve(false);
    else reject(error);
  });
  try {
    return await promise;
  } finally {
    socket.destroy();
  }
}
