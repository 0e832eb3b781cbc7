// A gRPC client's end of one connection (grpc.io, "gRPC over HTTP2"), over Node's own HTTP/2: calls with
// one request, and one answer or a stream of them.
import { type ClientHttp2Session, type ClientHttp2Stream, connect } from "node:http2";
import type { Duplex } from "node:stream";
import type { SecureContextOptions } from "node:tls";
import { describeError } from "../../core/error.ts";

/** Status codes of gRPC (grpc.io, "Status codes") that somebody asks about. */
export const grpcCode = {
  invalidArgument: 3,
  deadlineExceeded: 4,
  permissionDenied: 7,
  failedPrecondition: 9,
  outOfRange: 11,
  unavailable: 14,
  unauthenticated: 16,
} as const;

/** A call that ended with another status than OK, or without one, which is `unavailable`. */
export class GrpcError extends Error {
  readonly code: number;
  /** What the server said, or why there was no answer. */
  readonly reason: string;

  constructor(method: string, code: number, reason: string) {
    super(`${method} failed (gRPC status ${code}): ${reason}`);
    this.name = "GrpcError";
    this.code = code;
    this.reason = reason;
  }
}

export interface GrpcOptions {
  /** In place of a TCP connection to the address of the URL. */
  readonly createConnection?: () => Duplex;
  /** For an https URL. */
  readonly tls?: SecureContextOptions;
  /** A connection that answers no ping is broken. 0: none are sent. */
  readonly pingEveryMs?: number;
}

export interface CallOptions {
  /** Further headers: gRPC's metadata. */
  readonly metadata?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
  /** Of a call with one answer. */
  readonly timeoutMs?: number;
}

export interface GrpcChannel extends Disposable {
  /** False when the connection has ended: no call succeeds any more. */
  readonly isOpen: boolean;
  /** Of a connection that stands: this machine's address in it. */
  readonly localAddress: string | undefined;
  /** Resolves when the connection stands; rejects with GrpcError, `unavailable`. */
  connected(timeoutMs: number): Promise<void>;
  /** `/package.Service/Method`; the message's octets in both directions. Rejects with GrpcError. */
  call(method: string, request: Buffer, options?: CallOptions): Promise<Buffer>;
  /**
   * One message after another, until the server ends; throws GrpcError. The request's side stays open
   * meanwhile. To leave the loop ends the call.
   */
  stream(method: string, request: Buffer, options?: CallOptions): AsyncGenerator<Buffer, void>;
}

const usualTimeoutMs = 30_000;
const pingTimeoutMs = 5000;
/** More than any answer here has: a length beyond this is no length. */
const longestMessage = 64 * 1024 * 1024;
const windowOctets = 1024 * 1024;

export const openGrpc = (url: string, options: GrpcOptions = {}): GrpcChannel =>
  new Http2Channel(url, options);

class Http2Channel implements GrpcChannel {
  readonly #session: ClientHttp2Session;
  #failure: unknown;
  #pings: NodeJS.Timeout | undefined;

  constructor(url: string, { createConnection, tls, pingEveryMs = 0 }: GrpcOptions) {
    this.#session = connect(url, {
      ...tls,
      ...(createConnection && { createConnection }),
      settings: { initialWindowSize: windowOctets, enablePush: false },
    });
    // A broken connection fails each call on its own.
    this.#session.on("error", (error) => void (this.#failure ??= error));
    this.#session.once("connect", () => this.#session.setLocalWindowSize(windowOctets));
    if (pingEveryMs > 0) this.#pings = setInterval(() => this.#ping(), pingEveryMs).unref();
    this.#session.once("close", () => clearInterval(this.#pings));
  }

  get isOpen(): boolean {
    return !this.#session.destroyed && !this.#session.closed;
  }

  get localAddress(): string | undefined {
    return this.isOpen ? this.#session.socket?.localAddress : undefined;
  }

  connected(timeoutMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const fail = (reason: string): void =>
        reject(new GrpcError("connect", grpcCode.unavailable, reason));
      const timer = setTimeout(() => fail(`no connection in ${timeoutMs} ms`), timeoutMs);
      this.#session.once("connect", () => {
        clearTimeout(timer);
        resolve();
      });
      this.#session.once("close", () => {
        clearTimeout(timer);
        fail(this.#why("the connection closed"));
      });
    });
  }

  async call(method: string, request: Buffer, options: CallOptions = {}): Promise<Buffer> {
    const { timeoutMs = usualTimeoutMs, signal } = options;
    const timeout = AbortSignal.timeout(timeoutMs);
    const any = signal === undefined ? timeout : AbortSignal.any([timeout, signal]);
    const stream = this.#open(method, request, { ...options, signal: any });
    stream.end();
    try {
      let answer: Buffer = Buffer.alloc(0);
      for await (const message of this.#answers(method, stream)) answer = message;
      return answer;
    } catch (error) {
      signal?.throwIfAborted();
      if (!timeout.aborted) throw error;
      throw new GrpcError(method, grpcCode.deadlineExceeded, `no answer in ${timeoutMs} ms`);
    }
  }

  async *stream(
    method: string,
    request: Buffer,
    options: CallOptions = {},
  ): AsyncGenerator<Buffer, void> {
    const stream = this.#open(method, request, options);
    try {
      yield* this.#answers(method, stream);
    } finally {
      stream.close();
    }
  }

  [Symbol.dispose](): void {
    clearInterval(this.#pings);
    this.#session.destroy();
  }

  #open(method: string, request: Buffer, { metadata, signal }: CallOptions): ClientHttp2Stream {
    let stream: ClientHttp2Stream;
    try {
      stream = this.#session.request(
        {
          ":method": "POST",
          ":path": method,
          "content-type": "application/grpc",
          te: "trailers",
          ...metadata,
        },
        { endStream: false, ...(signal && { signal }) },
      );
    } catch (error) {
      throw new GrpcError(method, grpcCode.unavailable, this.#why(describeError(error)));
    }
    // Whoever reads the stream learns of it; it may also come when nobody does any more.
    stream.on("error", () => undefined);
    stream.write(frame(request));
    return stream;
  }

  async *#answers(method: string, stream: ClientHttp2Stream): AsyncGenerator<Buffer, void> {
    const end = new Map<string, unknown>();
    // Without a message, status and headers come as one.
    const note = (headers: object): void => {
      for (const [name, value] of Object.entries(headers)) end.set(name, value);
    };
    stream.on("response", note);
    stream.on("trailers", note);
    try {
      yield* unframe(stream);
    } catch (error) {
      throw new GrpcError(method, grpcCode.unavailable, this.#why(describeError(error)));
    }
    const status = end.get("grpc-status");
    if (status === undefined) {
      const http = end.get(":status");
      const reason =
        http === undefined || http === 200
          ? "the connection closed without a status"
          : `HTTP status ${JSON.stringify(http)}`;
      throw new GrpcError(method, grpcCode.unavailable, this.#why(reason));
    }
    if (status === "0") return;
    throw new GrpcError(method, Number(status), decodeReason(end.get("grpc-message")));
  }

  #why(reason: string): string {
    return withoutNoise(this.#failure === undefined ? reason : describeError(this.#failure));
  }

  #ping(): void {
    const timer = setTimeout(() => {
      this.#session.destroy(new Error(`no answer to a ping in ${pingTimeoutMs} ms`));
    }, pingTimeoutMs).unref();
    try {
      this.#session.ping(() => clearTimeout(timer));
    } catch {
      clearTimeout(timer); // Closed meanwhile.
    }
  }
}

/** Of OpenSSL's many words, of which some differ each time, those that say what was wrong. */
const withoutNoise = (reason: string): string =>
  /SSL routines:[^:]*:([^:]+):/.exec(reason)?.[1] ?? reason;

/** Percent-encoded (gRPC over HTTP2, "Status-Message"). */
function decodeReason(header: unknown): string {
  const text = typeof header === "string" ? header : "";
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

const headOctets = 5;

/** One uncompressed message: a zero, the length in four octets. */
function frame(message: Buffer): Buffer {
  const head = Buffer.alloc(headOctets);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

async function* unframe(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void> {
  let parts: Buffer[] = [];
  let octets = 0;
  let wanted = headOctets;
  for await (const chunk of chunks) {
    parts.push(chunk);
    octets += chunk.length;
    while (octets >= wanted) {
      const whole = Buffer.concat(parts);
      const length = whole.readUInt32BE(1);
      if (length > longestMessage) {
        throw new RangeError(`a message of ${length} octets: expected at most ${longestMessage}`);
      }
      wanted = headOctets + length;
      if (octets < wanted) {
        parts = [whole];
        break;
      }
      yield whole.subarray(headOctets, wanted);
      const rest = whole.subarray(wanted);
      parts = [rest];
      octets = rest.length;
      wanted = headOctets;
    }
  }
}
