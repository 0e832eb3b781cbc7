// What answers in the lab's pods and outside: HTTP that says who asked, and gives back what it got.
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer, request, type IncomingMessage } from "node:http";
import { hostname } from "node:os";
import { buffer } from "node:stream/consumers";
import { parseIp } from "../../core/address.ts";
import { describeError } from "../../core/error.ts";

const serverHeader = "fairlead-server";
const peerHeader = "fairlead-peer";

/** Serves until the signal aborts. GET: a line of text; POST: the body again; both say who asked. */
export async function serveEcho(port: number, signal: AbortSignal): Promise<void> {
  const server = createServer((incoming, outgoing) => {
    const peer = peerOf(incoming);
    outgoing.setHeader(serverHeader, hostname());
    outgoing.setHeader(peerHeader, peer);
    outgoing.on("error", () => {});
    if (incoming.method === "POST") incoming.pipe(outgoing);
    else outgoing.end(`${hostname()} sees you as ${peer}\n`);
  });
  server.listen(port);
  await once(server, "listening");
  const stop = (): void => {
    server.close();
    server.closeAllConnections();
  };
  if (signal.aborted) stop();
  signal.addEventListener("abort", stop, { once: true });
  await once(server, "close");
}

export interface Exchange {
  /** `address:port` or `name:port`, as asked. */
  readonly target: string;
  readonly bytes: number;
  /** The host name of who answered. */
  readonly server: string;
  /** The address that it saw us with. */
  readonly peer: string;
  readonly ms: number;
  /** Empty when every byte came back. */
  readonly problem: string;
}

const exchangeTimeoutMs = 3000;

/** Sends random bytes over one TCP connection and compares what comes back. */
export async function exchange(target: string, bytes: number): Promise<Exchange> {
  const sent = randomBytes(bytes);
  const start = performance.now();
  try {
    const outgoing = request(`http://${target}/`, {
      method: "POST",
      agent: false,
      signal: AbortSignal.timeout(exchangeTimeoutMs),
    });
    outgoing.end(sent);
    const [incoming] = await once(outgoing, "response");
    const received = await buffer(incoming);
    const header = (name: string): string => String(incoming.headers[name]);
    return {
      target,
      bytes: received.length,
      server: header(serverHeader),
      peer: header(peerHeader),
      ms: performance.now() - start,
      problem: received.equals(sent) ? "" : "other bytes came back than were sent",
    };
  } catch (error) {
    const ms = performance.now() - start;
    return { target, bytes: 0, server: "", peer: "", ms, problem: describeError(error) };
  }
}

// A socket for both families has ::ffff:a.b.c.d for an IPv4 peer; parseIp gives a.b.c.d.
const peerOf = (incoming: IncomingMessage): string =>
  parseIp(incoming.socket.remoteAddress ?? "") ?? "unknown";
