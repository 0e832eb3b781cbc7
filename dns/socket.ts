import { setTimeout as delay } from "node:timers/promises";
import type { Ip } from "../core/address.ts";
import { describeError } from "../core/error.ts";
import type { Log } from "../core/log.ts";
import { listenTcp, type TcpListenOptions } from "./tcp-listener.ts";
import type { UdpTransport } from "./udp-transport.ts";

export interface ServeOptions extends TcpListenOptions {
  /** Told after each attempt, and when the address is lost. */
  readonly onState: (address: Ip, isListening: boolean) => void;
  readonly udp: UdpTransport;
  readonly log: Log;
}

const firstRetryMs = 50;
const maxRetryMs = 5_000;

/**
 * Keeps one address bound, UDP and TCP together, until the signal aborts. The address may not be there
 * yet, or another server on it: that is reported once, and tried again with growing pauses.
 */
export async function serveAddress(options: ServeOptions, signal: AbortSignal): Promise<void> {
  const { address, port, respond, onState, log } = options;
  let retryMs = firstRetryMs;
  let reported = "";
  while (!signal.aborted) {
    try {
      await using udp = await options.udp.listen(address, port, respond);
      await using tcp = await listenTcp(options);
      log.info({ address, port }, "DNS address bound");
      onState(address, true);
      retryMs = firstRetryMs;
      reported = "";
      await Promise.race([udp.failed, tcp.failed, aborted(signal)]);
    } catch (thrown) {
      const problem = describeError(thrown);
      if (problem !== reported) log.warn({ address, port, problem }, "Cannot bind DNS address");
      reported = problem;
      onState(address, false);
      await delay(retryMs, undefined, { signal }).catch(() => {});
      retryMs = Math.min(retryMs * 2, maxRetryMs);
    }
  }
}

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
