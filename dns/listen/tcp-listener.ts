import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import type { Ip } from "../../core/address.ts";
import type { Responder } from "../respond/responder.ts";
import { FrameReader, frame } from "../message/tcp-frame.ts";
import type { Listener, ListenOptions } from "./udp-listener.ts";

export interface TcpLimits {
  /** A connection that completes no query for so long is closed. */
  readonly idleMs: number;
  readonly maxConnections: number;
  readonly maxConnectionsPerClient: number;
  /** Queries of one connection that are being answered; more are not read. */
  readonly maxInFlight: number;
  /** Far more than a query can need. Octets. */
  readonly maxQueryOctets: number;
}

export const defaultTcpLimits: TcpLimits = {
  idleMs: 10_000,
  maxConnections: 256,
  maxConnectionsPerClient: 32,
  maxInFlight: 16,
  maxQueryOctets: 4096,
};

export interface TcpListenOptions extends ListenOptions {
  readonly isAllowed: (address: string) => boolean;
  readonly limits?: Partial<TcpLimits>;
  /** A socket that listens already, to be closed by the listener. */
  readonly tcpFd?: number;
}

/**
 * Answers on one address over TCP (RFC 7766): queries may be split, packed and pipelined, answers come
 * in the order in which they are ready. Rejects when the address cannot be bound.
 */
export async function listenTcp(options: TcpListenOptions): Promise<Listener> {
  const { address, port, respond, isAllowed, counters } = options;
  const limits = { ...defaultTcpLimits, ...options.limits };
  const connections = new Set<Connection>();
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    const client = socket.remoteAddress;
    if (client === undefined || !isAllowed(client) || !hasRoom(connections, client, limits)) {
      counters.add("refused");
      socket.destroy();
      return;
    }
    const connection = new Connection(socket, { client, respond, limits });
    connections.add(connection);
    socket.once("close", () => connections.delete(connection));
  });
  const fd = options.tcpFd ?? (await tryListen(address, port));
  if (fd === undefined) server.listen({ host: address, port, exclusive: true, ipv6Only: true });
  else server.listen({ fd });
  await once(server, "listening");
  const { promise: failed, reject } = Promise.withResolvers<never>();
  failed.catch(() => {});
  server.on("error", reject);
  return {
    failed,
    ...(fd !== undefined && { fd }),
    async pause(mostMs) {
      if (fd === undefined) return;
      server.close();
      for (const connection of connections) connection.leave();
      const gone = [...connections].map((connection) => connection.closed);
      await Promise.race([Promise.all(gone), delay(mostMs, undefined, { ref: false })]);
    },
    async [Symbol.asyncDispose]() {
      if (!server.listening && connections.size === 0) return;
      const closed = once(server, "close");
      if (server.listening) server.close();
      for (const connection of connections) connection.close();
      await closed;
    },
  };
}

// Undefined where there is no koffi: Node listens as well, only its descriptor is nobody else's.
async function tryListen(address: Ip, port: number): Promise<number | undefined> {
  const { listenTcpAt } = await import("../../kernel/listening-socket.ts").catch(() => noSockets);
  return listenTcpAt?.(address, port);
}

const noSockets = { listenTcpAt: undefined };

// At the limit an idle connection has to go, the longest standing first (RFC 7766 section 6.2.3). No client has
// more than is left for others: many that keep theirs busy cannot take them all.
function hasRoom(connections: Set<Connection>, client: string, limits: TcpLimits): boolean {
  const ofClient = [...connections].filter((connection) => connection.client === client);
  const left = limits.maxConnections - connections.size;
  const share = Math.max(1, Math.min(limits.maxConnectionsPerClient, left));
  if (ofClient.length >= share) return makeRoom(ofClient, connections);
  return left > 0 || makeRoom([...connections], connections);
}

function makeRoom(candidates: readonly Connection[], connections: Set<Connection>): boolean {
  const idle = candidates.find((connection) => connection.isIdle);
  idle?.close();
  return idle !== undefined && connections.delete(idle);
}

interface ConnectionOptions {
  readonly client: string;
  readonly respond: Responder;
  readonly limits: TcpLimits;
}

class Connection {
  readonly client: string;
  readonly closed: Promise<void>;
  readonly #socket: Socket;
  readonly #respond: Responder;
  readonly #maxInFlight: number;
  readonly #frames: FrameReader;
  readonly #queued: Uint8Array[] = [];
  readonly #idleTimer: NodeJS.Timeout;
  #inFlight = 0;
  #hasEnded = false;
  #isLeaving = false;
  #queries = 0;

  constructor(socket: Socket, { client, respond, limits }: ConnectionOptions) {
    this.client = client;
    this.#socket = socket;
    this.#respond = respond;
    this.#maxInFlight = limits.maxInFlight;
    this.#frames = new FrameReader(limits.maxQueryOctets);
    this.#idleTimer = setTimeout(() => this.close(), limits.idleMs);
    socket.on("data", (chunk) => this.#receive(chunk));
    socket.on("drain", () => this.#work());
    socket.on("end", () => {
      this.#hasEnded = true;
      this.#work();
    });
    // A client that goes away in the middle is no event.
    socket.on("error", () => this.close());
    this.closed = new Promise((resolve) => socket.once("close", () => resolve()));
    socket.on("close", () => clearTimeout(this.#idleTimer));
  }

  get isIdle(): boolean {
    return this.#inFlight === 0 && this.#queued.length === 0;
  }

  close(): void {
    this.#socket.destroy();
  }

  /** Closed when what it has, or its first query, is answered. One that comes then is asked again (RFC 7766). */
  leave(): void {
    this.#isLeaving = true;
    this.#work();
  }

  #receive(chunk: Uint8Array | string): void {
    try {
      this.#queued.push(...this.#frames.push(chunk));
    } catch {
      this.close();
      return;
    }
    this.#work();
  }

  // Starts as many queries as may be in flight and as the client reads answers for. While some have
  // to wait nothing more is read, so that what is held stays one segment.
  #work(): void {
    while (this.#queued.length > 0 && this.#inFlight < this.#maxInFlight) {
      if (this.#socket.writableNeedDrain || this.#socket.destroyed) break;
      const query = this.#queued.shift();
      if (query !== undefined) this.#start(query);
    }
    if (this.#queued.length > 0) this.#socket.pause();
    else if (this.#isOver && this.#inFlight === 0) this.#socket.end();
    else this.#socket.resume();
  }

  get #isOver(): boolean {
    return this.#hasEnded || (this.#isLeaving && this.#queries > 0);
  }

  #start(query: Uint8Array): void {
    this.#queries++;
    // Only a whole query counts as a sign of life: a trickle of octets holds no connection open.
    this.#idleTimer.refresh();
    const answer = this.#respond(query, { address: this.client, transport: "tcp" });
    if (!(answer instanceof Promise)) {
      this.#send(answer);
      return;
    }
    this.#inFlight++;
    void answer.then((settled) => {
      this.#inFlight--;
      this.#send(settled);
      this.#work();
    });
  }

  #send(answer: Uint8Array | undefined): void {
    if (answer === undefined || this.#socket.destroyed) return;
    this.#socket.write(frame(answer));
  }
}
