import { setTimeout as delay } from "node:timers/promises";
import type { Ip } from "../../core/address.ts";
import { describeError } from "../../core/error.ts";
import type { Log } from "../../core/log.ts";
import { listenTcp, type TcpListenOptions } from "./tcp-listener.ts";
import type { UdpTransport } from "./transport.ts";

export interface ServeOptions extends TcpListenOptions {
  /** Told after each attempt, and when the address is lost. */
  readonly onState: (address: Ip, isListening: boolean, fds: readonly number[]) => void;
  /** Sockets of another process before, for this address. */
  readonly inherited?: { readonly udp?: number; readonly tcp?: number };
  /** Resolves when the queries that are taken are answered, at the latest after `drainMs`. */
  readonly answered: () => Promise<void>;
  /** For the queries that are taken when it is stopped. */
  readonly drainMs: () => number;
  readonly udp: UdpTransport;
  readonly log: Log;
}

const firstRetryMs = 50;
const maxRetryMs = 5_000;

/**
 * Keeps one address bound, UDP and TCP together, until the signal aborts. The address may not be there
 * yet, or another server on it: that is reported once, and tried again with growing pauses. Stopped, it
 * answers what it has taken.
 */
export async function serveAddress(options: ServeOptions, signal: AbortSignal): Promise<void> {
  const { address, port, respond, onState, log } = options;
  let retryMs = firstRetryMs;
  let reported = "";
  let { inherited = {} } = options;
  while (!signal.aborted) {
    try {
      const { udp: udpFd, tcp: tcpFd } = inherited;
      inherited = {};
      await using udp = await options.udp.listen({
        address,
        port,
        respond,
        ...(udpFd !== undefined && { fd: udpFd }),
      });
      await using tcp = await listenTcp({ ...options, ...(tcpFd !== undefined && { tcpFd }) });
      log.info({ address, port }, "DNS address bound");
      onState(
        address,
        true,
        [udp.fd, tcp.fd].filter((fd) => fd !== undefined),
      );
      retryMs = firstRetryMs;
      reported = "";
      await Promise.race([udp.failed, tcp.failed, aborted(signal)]);
      // Stopped: who else has the sockets gets what comes from now on.
      await Promise.all([udp.pause(options.drainMs()), tcp.pause(options.drainMs())]);
      await options.answered();
    } catch (thrown) {
      const problem = describeError(thrown);
      if (problem !== reported) log.warn({ address, port, problem }, "Cannot bind DNS address");
      reported = problem;
      onState(address, false, []);
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
