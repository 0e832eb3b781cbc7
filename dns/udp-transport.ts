import { randomInt } from "node:crypto";
import { describeError } from "../core/error.ts";
import type { Log } from "../core/log.ts";
import { defaultClientLimits } from "./handlers/settings.ts";
import { noSiteNames } from "./handlers/site-names.ts";
import type { SharedDescriptors } from "./listen/shared-descriptors.ts";
import type { UdpTransport } from "./listen/transport.ts";
import { listenUdp } from "./listen/udp-listener.ts";
import type { Name } from "./message/name.ts";
import type { SharedCounters } from "./observe/counters.ts";
import { WirePublisher } from "./wire/wire-publisher.ts";
import type { WorkerStart } from "./worker-protocol.ts";

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
  const { openPacketThread } = await import("./listen/packet-listener.ts");
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
    podsChanged: (services, pods, { askers }) => {
      publisher.refreshServices(services);
      const walked = autopath ? [...askers] : [];
      const paths = walked.map((address) => [address, pods.searchPathOf(address)] as const);
      publisher.changePods(pods.trees(), paths);
    },
    observer: {
      onAnswer: (packet, answer, octets) => publisher.answered(packet, answer, octets),
    },
    [Symbol.asyncDispose]: () => thread[Symbol.asyncDispose](),
  };
}
