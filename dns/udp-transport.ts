import { randomInt } from "node:crypto";
import { defaultClientLimits } from "./options.ts";
import type { Ip } from "../core/address.ts";
import { describeError } from "../core/error.ts";
import type { Log } from "../core/log.ts";
import type { SharedCounters } from "./counters.ts";
import type { Name } from "./name.ts";
import type { PodDirectory } from "./pod-directory.ts";
import type { AnswerObserver, Responder } from "./responder.ts";
import type { SharedDescriptors } from "./shared-descriptors.ts";
import { noSiteNames } from "./site-names.ts";
import { type Listener, listenUdp } from "./udp-listener.ts";
import type { WorkerStart } from "./worker-protocol.ts";
import { WirePublisher } from "./wire-publisher.ts";
import type { ZoneUpdate } from "./zone-feed.ts";

export interface UdpListenOptions {
  readonly address: Ip;
  readonly port: number;
  readonly respond: Responder;
  /** A socket that is bound already, to be closed by the listener. */
  readonly fd?: number;
}

/** How queries over UDP reach the responder, and what it must tell about its answers. */
export interface UdpTransport extends AsyncDisposable {
  /** Answers on one address. Rejects when it cannot be bound. */
  listen(options: UdpListenOptions): Promise<Listener>;
  /** The zone has the update: what it makes void is not given any more from here on. */
  zoneChanged(update: ZoneUpdate): void;
  upstreamsChanged(): void;
  /** Services of these keys have other answers, or other pods ask. */
  podsChanged(services: ReadonlySet<string>, pods: PodDirectory): void;
  /** What the responder's options need to tell it of answers. */
  readonly observer?: { readonly onAnswer: AnswerObserver };
}

export interface UdpTransportOptions {
  readonly start: WorkerStart;
  readonly domain: Name;
  readonly counters: SharedCounters;
  readonly descriptors: SharedDescriptors;
  readonly log: Log;
}

/** A thread with system calls for many datagrams at once; where that cannot be, Node's own sockets. */
export async function openUdpTransport(options: UdpTransportOptions): Promise<UdpTransport> {
  if (options.start.udp === "plain") return plainTransport(options.counters);
  try {
    return await batchedTransport(options);
  } catch (thrown) {
    const problem = describeError(thrown);
    options.log.warn({ problem }, "Answering over UDP one datagram at a time");
    return plainTransport(options.counters);
  }
}

export const plainTransport = (counters: SharedCounters): UdpTransport => ({
  listen: (options) => listenUdp({ ...options, counters }),
  zoneChanged: () => {},
  upstreamsChanged: () => {},
  podsChanged: () => {},
  [Symbol.asyncDispose]: async () => {},
});

async function batchedTransport({
  start: {
    clients,
    limits = defaultClientLimits,
    traffic,
    podTurns,
    queryLog,
    autopath = true,
    site = noSiteNames,
  },
  domain,
  counters,
  descriptors,
}: UdpTransportOptions): Promise<UdpTransport> {
  // Here at first: without koffi the module cannot be loaded.
  const { openPacketThread } = await import("./packet-listener.ts");
  const seed = randomInt(2 ** 31);
  const thread = await openPacketThread({
    domain,
    clients,
    queriesPerSecond: limits.queriesPerSecond,
    seed,
    counters,
    traffic,
    descriptors,
    podTurns,
  });
  // The log of queries is the responder's: where it is wanted, the thread knows nothing and leaves all.
  const isLogged = (queryLog?.share ?? 0) > 0;
  const publisher = new WirePublisher({
    domain,
    seed,
    site,
    publish: (update) => (isLogged ? undefined : thread.publish(update)),
  });
  return {
    listen: (options) => thread.listen(options),
    zoneChanged: (update) => publisher.applyZone(update),
    upstreamsChanged: () => publisher.forgetOutside(),
    podsChanged: (services, pods) => {
      publisher.refreshServices(services);
      publisher.setPods(pods.trees(), autopath ? pods.searchers() : []);
    },
    observer: {
      onAnswer: (packet, answer, octets) => publisher.answered(packet, answer, octets),
    },
    [Symbol.asyncDispose]: () => thread[Symbol.asyncDispose](),
  };
}
