import { randomInt } from "node:crypto";
import type { Clock } from "../core/clock.ts";
import { describeError } from "../core/error.ts";
import type { Log } from "../core/log.ts";
import { defaultClientLimits, defaultRealtimeShare } from "./handlers/settings.ts";
import { noSiteNames } from "./handlers/site-names.ts";
import type { SharedDescriptors } from "./listen/shared-descriptors.ts";
import type { UdpTransport } from "./listen/transport.ts";
import { listenUdp } from "./listen/udp-listener.ts";
import type { Name } from "./message/name.ts";
import type { SharedCounters } from "./observe/counters.ts";
import { KnownAnswers } from "./wire/known-answers.ts";
import { WirePublisher } from "./wire/wire-publisher.ts";
import type { WireUpdate } from "./wire/wire-update.ts";
import type { WorkerStart } from "./worker-protocol.ts";

export interface UdpTransportOptions {
  readonly start: WorkerStart;
  readonly domain: Name;
  readonly clock: Clock;
  readonly counters: SharedCounters;
  readonly descriptors: SharedDescriptors;
  readonly log: Log;
}

/** A thread with system calls for many datagrams at once; where that cannot be, Node's own sockets. */
export async function openUdpTransport(options: UdpTransportOptions): Promise<UdpTransport> {
  if (options.start.udp === "plain") return knowingTransport(options);
  try {
    return await batchedTransport(options);
  } catch (thrown) {
    const problem = describeError(thrown);
    options.log.warn({ problem }, "Answering over UDP one datagram at a time");
    return knowingTransport(options);
  }
}

export const plainTransport = (counters: SharedCounters): UdpTransport => ({
  listen: (options) => listenUdp({ ...options, counters }),
  alive: async () => {},
  zoneChanged: () => {},
  upstreamsChanged: () => {},
  podsChanged: () => {},
  [Symbol.asyncDispose]: async () => {},
});

/** Node's own sockets, at which what was answered before is answered again. */
function knowingTransport(options: UdpTransportOptions): UdpTransport {
  const { domain, clock, counters } = options;
  const seed = randomInt(2 ** 31);
  // Which of several addresses is first matters to nobody who could guess it.
  const random = { below: (limit: number) => Math.floor(Math.random() * limit) };
  const known = new KnownAnswers({ domain, seed, random, clock, counters });
  const told = tellingTo(options, seed, (update) => known.apply(update));
  return {
    ...plainTransport(counters),
    ...told,
    observer: { ...told.observer, known: (packet, address) => known.find(packet, address) },
  };
}

async function batchedTransport(options: UdpTransportOptions): Promise<UdpTransport> {
  const { start, domain, counters, descriptors } = options;
  const { clients, limits = defaultClientLimits, traffic, podTurns } = start;
  const { realtimeShare = defaultRealtimeShare } = start;
  // Here at first: without koffi the module cannot be loaded.
  const { openPacketThread } = await import("./listen/packet-listener.ts");
  const seed = randomInt(2 ** 31);
  const thread = await openPacketThread({
    domain,
    clients,
    queriesPerSecond: limits.queriesPerSecond,
    realtimeShare,
    seed,
    counters,
    traffic,
    descriptors,
    podTurns,
  });
  return {
    listen: (listening) => thread.listen(listening),
    alive: () => thread.alive(),
    ...tellingTo(options, seed, (update) => thread.publish(update)),
    [Symbol.asyncDispose]: () => thread[Symbol.asyncDispose](),
  };
}

type Telling = Required<
  Pick<UdpTransport, "zoneChanged" | "upstreamsChanged" | "podsChanged" | "observer">
>;

/** What may be answered without the responder, to who answers so. */
function tellingTo(
  { start: { queryLog, autopath = true, site = noSiteNames }, domain }: UdpTransportOptions,
  seed: number,
  tell: (update: WireUpdate) => void,
): Telling {
  // The log of queries is the responder's: where it is wanted, nobody else knows anything and all comes to it.
  const isLogged = (queryLog?.share ?? 0) > 0;
  const publisher = new WirePublisher({
    domain,
    seed,
    site,
    publish: (update) => (isLogged ? undefined : tell(update)),
  });
  return {
    zoneChanged: (update) => publisher.applyZone(update),
    upstreamsChanged: () => publisher.forgetOutside(),
    podsChanged: (services, pods, { askers, hasNewNames }) => {
      publisher.refreshServices(services);
      const walked = autopath ? [...askers] : [];
      const paths = walked.map((address) => [address, pods.searchPathOf(address)] as const);
      publisher.changePods(pods.trees(), paths, hasNewNames);
    },
    observer: {
      onAnswer: (packet, answer, octets) => publisher.answered(packet, answer, octets),
    },
  };
}
