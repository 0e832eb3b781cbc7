// A unary gRPC client over a Unix socket (grpc.io, "gRPC over HTTP2").
import { connect as connectHttp2, type IncomingHttpHeaders } from "node:http2";
import { connect } from "node:net";

/** A call that ended with another status than OK (grpc.io, "Status codes"). */
export class GrpcError extends Error {
  readonly code: number;

  constructor(method: string, code: number, message: string) {
    super(`${method} failed (gRPC status ${code}): ${message}`);
    this.name = "GrpcError";
    this.code = code;
  }
}

export interface GrpcClient extends Disposable {
  /** `/package.Service/Method`; the message's octets in both directions. */
  call(method: string, request: Buffer): Promise<Buffer>;
}

const timeoutMs = 30_000;
const unavailable = 14;

export function openGrpc(socketPath: string): GrpcClient {
  const session = connectHttp2("http://localhost", { createConnection: () => connect(socketPath) });
  // A broken connection fails each call on its own.
  session.on("error", () => undefined);
  return {
    call: (method, request) =>
      new Promise((resolve, reject) => {
        const stream = session.request({
          ":method": "POST",
          ":path": method,
          "content-type": "application/grpc",
          te: "trailers",
        });
        const chunks: Buffer[] = [];
        let end: IncomingHttpHeaders = {};
        const fail = (reason: string): void => reject(new GrpcError(method, unavailable, reason));
        // Without a message, status and headers come as one.
        stream.on("response", (headers) => void (end = { ...end, ...headers }));
        stream.on("trailers", (headers) => void (end = { ...end, ...headers }));
        stream.on("data", (chunk: Buffer) => void chunks.push(chunk));
        stream.on("error", (error) => fail(error.message));
        stream.setTimeout(timeoutMs, () => stream.close());
        stream.on("close", () => {
          const status = end["grpc-status"];
          if (status === undefined) return fail("the connection closed without a status");
          const reason = decodeURIComponent(String(end["grpc-message"] ?? ""));
          if (status !== "0") return reject(new GrpcError(method, Number(status), reason));
          resolve(unframe(Buffer.concat(chunks)));
        });
        stream.end(frame(request));
      }),
    [Symbol.dispose]: () => session.destroy(),
  };
}

/** One uncompressed message: a zero, the length in four octets. */
function frame(message: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

function unframe(octets: Buffer): Buffer {
  if (octets.length < 5) return Buffer.alloc(0);
  return octets.subarray(5, 5 + octets.readUInt32BE(1));
}
