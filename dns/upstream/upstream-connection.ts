// One connection to an upstream, over TCP or TLS, with many queries on their way in it at a time
// (RFC 7766 section 6.2.1.1): answers come in any order and are told apart by their ids.
import { connect, isIP, type Socket } from "node:net";
import type { Clock, Random } from "../../core/clock.ts";
import { toError } from "../../core/error.ts";
import type { Upstream } from "../handlers/settings.ts";
import { FrameReader, frame } from "../message/tcp-frame.ts";
import { encodeMessage } from "../message/encode.ts";
import { idOf, type Message } from "../message/message.ts";
import { judgeOctets } from "./upstream-answer.ts";
import { failureOf, UpstreamError } from "./upstream-failure.ts";

export interface ConnectionOptions {
  readonly upstream: Upstream;
  readonly clock: Clock;
  readonly random: Random;
  /** PEM of the authorities that are trusted. */
  readonly ca: readonly string[];
  /** Without a query for so long, it is closed. */
  readonly idleMs: number;
  /** Of a connection before: TLS need not begin from nothing. */
  readonly session: Buffer | undefined;
  readonly onSession: (session: Buffer) => void;
  readonly onClosed: () => void;
}

/** The connection went while the query was on its way, which says nothing of the query itself. */
export class ConnectionLost extends UpstreamError {}

interface Pending {
  readonly query: Message;
  readonly resolve: (answer: Message) => void;
  readonly reject: (reason: Error) => void;
  readonly sentAtMs: number;
}

export class UpstreamConnection implements Disposable {
  readonly #options: ConnectionOptions;
  readonly #socket: Socket;
  readonly #pending = new Map<number, Pending>();
  readonly #frames = new FrameReader();
  #lastHeardMs = -Infinity;
  #idle: NodeJS.Timeout | undefined;
  #isEstablished = false;
  #isOpen = true;

  constructor(options: ConnectionOptions) {
    this.#options = options;
    this.#socket = open(options);
    const event = options.upstream.tls === undefined ? "connect" : "secureConnect";
    this.#socket.once(event, () => {
      this.#isEstablished = true;
    });
    this.#socket.on("data", (chunk) => this.#receive(chunk));
    this.#socket.on("error", (cause) => {
      // A reset of a connection that once stood is nothing but its end.
      if (!this.#isEstablished) this.#end(failureOf(options.upstream, cause));
      else this.#lose();
    });
    this.#socket.on("close", () => this.#lose());
    // The upstream wants no more queries. It may still answer those that it has.
    this.#socket.on("end", () => this.#lose());
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  get inFlight(): number {
    return this.#pending.size;
  }

  /**
   * Sends the query under an id of this connection's own. Rejects with ConnectionLost when the
   * connection goes first, with another UpstreamError on timeout and when it cannot be made at all.
   */
  async ask(query: Message, timeoutMs: number): Promise<Message> {
    const { upstream } = this.#options;
    const id = this.#freeId();
    const { promise, resolve, reject } = Promise.withResolvers<Message>();
    const sent = { ...query, id };
    const pending: Pending = {
      query: sent,
      resolve,
      reject,
      sentAtMs: this.#options.clock.monotonicMs(),
    };
    this.#pending.set(id, pending);
    clearTimeout(this.#idle);
    const late = setTimeout(() => {
      reject(new UpstreamError(upstream, `no answer over TCP within ${Math.round(timeoutMs)} ms`));
      // Not a word since: the way is broken, or it hangs. A new connection may do better.
      if (this.#lastHeardMs < pending.sentAtMs) this.#lose();
    }, timeoutMs);
    this.#socket.write(frame(encodeMessage(sent)));
    try {
      return await promise;
    } finally {
      clearTimeout(late);
      this.#pending.delete(id);
      if (this.#pending.size === 0) this.#waitIdle();
    }
  }

  [Symbol.dispose](): void {
    this.#end(new UpstreamError(this.#options.upstream, "the resolver stops"));
  }

  #freeId(): number {
    for (;;) {
      const id = this.#options.random.below(0x1_0000);
      if (!this.#pending.has(id)) return id;
    }
  }

  #receive(chunk: Uint8Array | string): void {
    this.#lastHeardMs = this.#options.clock.monotonicMs();
    try {
      for (const packet of this.#frames.push(chunk)) this.#take(packet);
    } catch (thrown) {
      this.#end(failureOf(this.#options.upstream, toError(thrown)));
    }
  }

  #take(packet: Uint8Array): void {
    const pending = this.#pending.get(idOf(packet));
    if (pending === undefined) return;
    const judged = judgeOctets(pending.query, packet);
    if (judged.kind === "answer") pending.resolve(judged.message);
    else if (judged.kind === "use-tcp") {
      const problem = "its answer over TCP cannot be read";
      pending.reject(new UpstreamError(this.#options.upstream, problem));
    }
  }

  #waitIdle(): void {
    clearTimeout(this.#idle);
    if (this.#isOpen) this.#idle = setTimeout(() => this.#lose(), this.#options.idleMs).unref();
  }

  #lose(): void {
    const problem = "the connection was closed before an answer";
    this.#end(new ConnectionLost(this.#options.upstream, problem));
  }

  #end(reason: Error): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    clearTimeout(this.#idle);
    this.#socket.destroy();
    for (const { reject } of this.#pending.values()) reject(reason);
    this.#options.onClosed();
  }
}

function open({ upstream, ca, session, onSession }: ConnectionOptions): Socket {
  const { address: host, port, tls } = upstream;
  if (tls === undefined) return connect({ host, port, noDelay: true });
  const { serverName } = tls;
  // Loaded for who has such an upstream: it takes 3 MiB.
  const socket = process.getBuiltinModule("node:tls").connect({
    host,
    port,
    ca: [...ca],
    minVersion: "TLSv1.2",
    // RFC 7858 has no name for the protocol, IANA has.
    ALPNProtocols: ["dot"],
    ...(session && { session }),
    // Checked against the certificate; without it, the address is. An address is no server name (RFC 6066).
    ...(serverName !== undefined && isIP(serverName) === 0 && { servername: serverName }),
  });
  socket.setNoDelay(true);
  socket.on("session", onSession);
  return socket;
}
