import { createSocket } from "node:dgram";
import { familyOf } from "../../core/address.ts";
import type { Upstream } from "../handlers/settings.ts";
import { encodeMessage } from "../message/encode.ts";
import { type Expected, judgeDatagram, type Judgement } from "./upstream-answer.ts";
import { failureOf, UpstreamError } from "./upstream-failure.ts";

/** One question to one upstream. */
export interface Exchange extends Expected {
  readonly upstream: Upstream;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/**
 * Asks over UDP from a socket of its own: a new port, chosen at random by the kernel, and connected,
 * so that only the upstream's own answers get in (RFC 5452 section 9). What does not answer the
 * question is ignored, the real answer may still come. Rejects on timeout and on what the network
 * reports.
 */
export function exchangeUdp(exchange: Exchange): Promise<Exclude<Judgement, { kind: "ignore" }>> {
  const { upstream, query, timeoutMs } = exchange;
  const { promise, resolve, reject } =
    Promise.withResolvers<Exclude<Judgement, { kind: "ignore" }>>();
  let isOpen = true;
  const socket = createSocket({ type: familyOf(upstream.address) === 4 ? "udp4" : "udp6" });
  const cleanUp = cancelOn(exchange, reject, `no answer within ${Math.round(timeoutMs)} ms`);
  socket.on("error", (cause) => reject(failureOf(upstream, cause)));
  socket.on("message", (packet) => {
    const judged = judgeDatagram(exchange, packet);
    if (judged.kind !== "ignore") resolve(judged);
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

function cancelOn(exchange: Exchange, reject: (reason: Error) => void, late: string): () => void {
  const { upstream, timeoutMs, signal } = exchange;
  const timer = setTimeout(() => reject(new UpstreamError(upstream, late)), timeoutMs);
  const abort = (): void => reject(new UpstreamError(upstream, "the resolver stops"));
  signal.addEventListener("abort", abort, { once: true });
  return () => {
    clearTimeout(timer);
    signal.removeEventListener("abort", abort);
  };
}
