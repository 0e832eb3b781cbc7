import { createSocket } from "node:dgram";
import { connect } from "node:net";
import { familyOf } from "../core/address.ts";
import { toError } from "../core/error.ts";
import { decodeMessage } from "./decode.ts";
import { encodeMessage } from "./encode.ts";
import {
  headerOctets,
  idOf,
  isResponse,
  isTruncated,
  type Message,
  Opcode,
  opcodeOf,
  type Question,
  Rcode,
} from "./message.ts";
import { foldName } from "./name.ts";
import type { Upstream } from "./options.ts";
import { FrameReader, frame } from "./tcp-frame.ts";

/** One question to one upstream. */
export interface Exchange {
  readonly upstream: Upstream;
  readonly query: Message;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/**
 * Asks over UDP from a socket of its own: a new port, chosen at random by the kernel, and connected,
 * so that only the upstream's own answers get in (RFC 5452 section 9). What does not answer the
 * question is ignored, the real answer may still come. Resolves to "use-tcp" for an answer that is
 * truncated or cannot be read; rejects on timeout and on what the network reports.
 */
export function exchangeUdp(exchange: Exchange): Promise<Message | "use-tcp"> {
  const { upstream, query, timeoutMs } = exchange;
  const { promise, resolve, reject } = Promise.withResolvers<Message | "use-tcp">();
  let isOpen = true;
  const socket = createSocket({ type: familyOf(upstream.address) === 4 ? "udp4" : "udp6" });
  const cleanUp = cancelOn(exchange, reject, `no answer within ${timeoutMs} ms`);
  socket.on("error", (cause) => reject(upstreamError(upstream, cause.message, cause)));
  socket.on("message", (packet) => {
    const answer = judge(query, packet);
    if (answer !== undefined) resolve(answer);
  });
  socket.connect(upstream.port, upstream.address, () => {
    if (isOpen) socket.send(encodeMessage(query));
  });
  return promise.finally(() => {
    cleanUp();
    isOpen = false;
    socket.close();
  });
}

/** Asks over TCP, on a connection of its own. Rejects on timeout, close and an unreadable answer. */
export function exchangeTcp(exchange: Exchange): Promise<Message> {
  const { upstream, query, timeoutMs } = exchange;
  const { promise, resolve, reject } = Promise.withResolvers<Message>();
  const socket = connect({ host: upstream.address, port: upstream.port, noDelay: true });
  const cleanUp = cancelOn(exchange, reject, `no TCP answer within ${timeoutMs} ms`);
  const frames = new FrameReader();
  socket.on("error", (cause) => reject(upstreamError(upstream, cause.message, cause)));
  socket.on("close", () => reject(upstreamError(upstream, "connection closed before an answer")));
  socket.on("data", (chunk) => {
    try {
      for (const packet of frames.push(chunk)) {
        const answer = judge(query, packet);
        if (answer === "use-tcp") throw new RangeError("unreadable answer over TCP");
        if (answer !== undefined) resolve(answer);
      }
    } catch (thrown) {
      reject(upstreamError(upstream, toError(thrown).message, toError(thrown)));
    }
  });
  socket.write(frame(encodeMessage(query)));
  return promise.finally(() => {
    cleanUp();
    socket.destroy();
  });
}

// Undefined: not an answer to this query.
function judge(query: Message, packet: Uint8Array): Message | "use-tcp" | undefined {
  if (packet.length < headerOctets || idOf(packet) !== query.id || !isResponse(packet)) {
    return undefined;
  }
  if (opcodeOf(packet) !== Opcode.query) return undefined;
  let answer: Message;
  try {
    answer = decodeMessage(packet);
  } catch {
    return "use-tcp";
  }
  if (!isSameQuestion(query, answer)) return undefined;
  return isTruncated(packet) ? "use-tcp" : answer;
}

// An old server that cannot read a query may answer FORMERR or NOTIMP with a header alone.
function isSameQuestion(query: Message, answer: Message): boolean {
  if (answer.questions.length === 0) {
    return answer.rcode === Rcode.FORMERR || answer.rcode === Rcode.NOTIMP;
  }
  const [asked] = query.questions;
  const [answered] = answer.questions;
  return (
    answer.questions.length === 1 &&
    asked !== undefined &&
    answered !== undefined &&
    isEqualQuestion(asked, answered)
  );
}

const isEqualQuestion = (a: Question, b: Question): boolean =>
  a.type === b.type && a.class === b.class && foldName(a.name) === foldName(b.name);

const upstreamError = (upstream: Upstream, problem: string, cause?: Error): Error =>
  new Error(`Cannot ask upstream ${upstream.address} port ${upstream.port}: ${problem}`, {
    ...(cause && { cause }),
  });

function cancelOn(exchange: Exchange, reject: (reason: Error) => void, late: string): () => void {
  const { upstream, timeoutMs, signal } = exchange;
  const timer = setTimeout(() => reject(upstreamError(upstream, late)), timeoutMs);
  const abort = (): void => reject(upstreamError(upstream, "the resolver stops"));
  signal.addEventListener("abort", abort, { once: true });
  return () => {
    clearTimeout(timer);
    signal.removeEventListener("abort", abort);
  };
}
