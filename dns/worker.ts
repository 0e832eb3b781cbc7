// The resolver's own thread: the daemon's work on the main thread never delays an answer.
import { randomInt } from "node:crypto";
import { once } from "node:events";
import {
  parentPort,
  type MessagePort,
  receiveMessageOnPort,
  workerData,
} from "node:worker_threads";
import type { Ip } from "../core/address.ts";
import { invariant } from "../core/assert.ts";
import type { Clock, Random } from "../core/clock.ts";
import { describeError } from "../core/error.ts";
import type { Log, LogFields } from "../core/log.ts";
import { threadsClock } from "../kernel/clock.ts";
import { giveBackHeapAtRest } from "../kernel/memory-at-rest.ts";
import { assemble, type Parts } from "./assembly.ts";
import { clientFilter } from "./clients/client-filter.ts";
import { ClientRate } from "./clients/client-rate.ts";
import { ownAddresses } from "./clients/own-addresses.ts";
import { PodDirectory } from "./cluster/pod-directory.ts";
import { PodTurns } from "./cluster/pod-turns.ts";
import { Zone } from "./cluster/zone.ts";
import { explainOutcome, type Explaining } from "./handlers/explain.ts";
import type { Resolve } from "./handlers/resolver.ts";
import { defaultClientLimits } from "./handlers/settings.ts";
import { ttlLookup } from "./handlers/zone-ttl.ts";
import { PendingAnswers } from "./listen/pending-answers.ts";
import { SharedDescriptors } from "./listen/shared-descriptors.ts";
import { serveAddress, type ServeOptions } from "./listen/socket.ts";
import { defaultTcpLimits } from "./listen/tcp-listener.ts";
import type { UdpTransport } from "./listen/transport.ts";
import { type Name, parseName } from "./message/name.ts";
import { SharedCounters } from "./observe/counters.ts";
import { SharedTraffic } from "./observe/traffic.ts";
import { afterNews } from "./respond/after-news.ts";
import { ednsReply } from "./respond/edns-reply.ts";
import { observedResponder } from "./respond/observed-responder.ts";
import { QueryLog, type QueryLogSettings } from "./respond/query-log.ts";
import { createResponder, type Responder, type ResponderOptions } from "./respond/responder.ts";
import { openUdpTransport } from "./udp-transport.ts";
import { SharedUpstreamStats } from "./upstream/upstream-stats.ts";
import type { FromWorker, ToWorker, WorkerStart } from "./worker-protocol.ts";

const clock: Clock = threadsClock;
// Ids of queries must not be guessable (RFC 5452).
const random: Random = { below: (limit) => randomInt(limit) };

async function run(port: MessagePort, start: WorkerStart): Promise<void> {
  const leave = new AbortController();
  const stop = new AbortController();
  let drainMs = 0;
  const post = (message: FromWorker): void => port.postMessage(message);
  const log = portLog(post);
  const domain = parseName(start.domain);
  invariant(domain !== undefined, "the main thread has checked the domain");

  const counters = new SharedCounters(start.counters);
  const pods = new PodDirectory(domain);
  const descriptors = new SharedDescriptors(start.descriptors);
  await using udp = await openUdpTransport({ start, domain, clock, counters, descriptors, log });
  const zone = zoneOf(start, domain, pods, udp);
  const parts: Parts = {
    options: start,
    pods,
    zone,
    clock,
    random,
    counters,
    upstreamStats: new SharedUpstreamStats(start.upstreamStats),
    log,
    signal: stop.signal,
  };
  let resolver = assemble(parts, start.upstreams);
  const resolve: Resolve = (query) => resolver(query);
  const isAllowed = either(clientFilter(start.clients), ownAddresses(clock));
  const turns = new PodTurns(start.podTurns);
  const answer = { resolve, isAllowed, counters, log, ...udp.observer };
  const answering = openResponder(start, answer, post);
  const pending = new PendingAnswers();
  const respond = afterNews(pending.counting(answering), turns, () => takeWaiting(port, take));

  const updated = Promise.withResolvers<void>();
  if (!start.awaitsUpdate) updated.resolve();

  const take = (message: ToWorker): void => {
    if (message.kind === "stop") {
      drainMs = message.drainMs;
      leave.abort();
      updated.resolve();
      return;
    }
    if (message.kind === "upstreams") {
      resolver = assemble(parts, message.upstreams);
      udp.upstreamsChanged();
      return;
    }
    if (message.kind === "pods") {
      const change = pods.applyAll(message.updates);
      udp.podsChanged(zone.refresh(change), pods, change);
      if (message.turn !== undefined) turns.taken(message.turn);
      return;
    }
    if (message.kind === "explain") {
      void explainTo(message, { resolve, isAllowed, clock, udp }, post);
      return;
    }
    zone.apply(message.update);
    udp.zoneChanged(message.update);
    post({ kind: "applied", revision: message.update.revision });
    updated.resolve();
  };
  port.on("message", take);
  const answered = (): Promise<void> => pending.settled(drainMs);
  const common = { respond, isAllowed, counters, udp, post, answered, drainMs: () => drainMs, log };
  await updated.promise;
  using _memory = giveBackHeapAtRest();
  await serveAll(start, common, leave.signal);
  stop.abort();
  port.close();
}

async function explainTo(
  { request, turn }: Extract<ToWorker, { kind: "explain" }>,
  { udp, ...explaining }: Explaining & { readonly udp: UdpTransport },
  post: (message: FromWorker) => void,
): Promise<void> {
  // Nobody gets an answer while the thread hangs that takes the datagrams.
  const [outcome] = await Promise.all([explainOutcome(request, explaining), udp.alive()]);
  post({ kind: "explained", turn, outcome });
}

function takeWaiting(port: MessagePort, take: (message: ToWorker) => void): void {
  for (;;) {
    const received = receiveMessageOnPort(port);
    if (received === undefined) return;
    take(received.message);
  }
}

const either =
  (one: (address: string) => boolean, other: (address: string) => boolean) =>
  (address: string): boolean =>
    one(address) || other(address);

/** The answer engine as it is configured, and watched. */
function openResponder(
  start: WorkerStart,
  parts: Omit<ResponderOptions, "judgeRate" | "replyToEdns">,
  post: (message: FromWorker) => void,
): Responder {
  const rate = new ClientRate((start.limits ?? defaultClientLimits).queriesPerSecond);
  const responder = createResponder({
    ...parts,
    judgeRate: (address) => rate.judge(address, clock.monotonicMs()),
    replyToEdns: ednsReply({
      secret: start.cookieSecret,
      idleMs: defaultTcpLimits.idleMs,
      clock,
      ...(start.serverId !== undefined && { serverId: start.serverId }),
    }),
  });
  return observedResponder(responder, {
    traffic: new SharedTraffic(start.traffic),
    clock,
    ...(start.queryLog && { queryLog: queryLog(start.queryLog, post) }),
  });
}

/** What is asked again over UDP needs the zone no more, where a thread in front keeps the answers. */
const mostRecords = 1024;

const zoneOf = (start: WorkerStart, domain: Name, pods: PodDirectory, udp: UdpTransport): Zone =>
  new Zone({
    domain,
    ...(udp.observer && { mostRecords }),
    ttl: start.ttl,
    ttlOf: ttlLookup(start.site?.ttls ?? []),
    pods: start.pods,
    nameservers: start.addresses,
    isWithheld: (address) => pods.isWithheld(address),
  });

type ServeParts = Omit<ServeOptions, "address" | "port" | "inherited" | "onState"> & {
  readonly post: (message: FromWorker) => void;
};

/** On all addresses, until the signal is aborted and what they have taken is answered. */
async function serveAll(
  start: WorkerStart,
  { post, ...parts }: ServeParts,
  signal: AbortSignal,
): Promise<void> {
  const onState = (address: Ip, isListening: boolean, fds: readonly number[]): void =>
    post({ kind: "state", address, isListening, fds });
  const { addresses, port } = start;
  await Promise.all(
    addresses.map((address) =>
      serveAddress({ ...parts, address, port, onState, ...inheritedOf(start, address) }, signal),
    ),
  );
  if (!signal.aborted) await once(signal, "abort");
}

const inheritedOf = (
  { inherited = [], port }: WorkerStart,
  address: Ip,
): Pick<ServeOptions, "inherited"> => {
  const found = inherited.find((one) => one.address === address && one.port === port);
  return found === undefined ? {} : { inherited: found };
};

/** Bounded by itself, and not by what faults may fill. */
const queryLog = (settings: QueryLogSettings, post: (message: FromWorker) => void): QueryLog =>
  new QueryLog(settings, clock, (fields, message) =>
    post({ kind: "log", level: "info", fields, message }),
  );

type LogLine = Extract<FromWorker, { kind: "log" }>;

// A flood of equal faults must flood neither the log nor the main thread.
const maxLines = 50;
const windowMs = 10_000;

function portLog(post: (message: FromWorker) => void): Log {
  let windowStartMs = clock.monotonicMs();
  let lines = 0;
  const write =
    (level: LogLine["level"]) =>
    (fields: LogFields, message: string): void => {
      const nowMs = clock.monotonicMs();
      if (nowMs - windowStartMs > windowMs) {
        if (lines > maxLines) {
          const leftOut = { lines: lines - maxLines };
          post({ kind: "log", level: "warn", fields: leftOut, message: "Log lines left out" });
        }
        [windowStartMs, lines] = [nowMs, 0];
      }
      if (++lines > maxLines) return;
      // An error is told as text: it may hold what cannot be cloned.
      const { err, ...rest } = fields;
      const problem = err === undefined ? {} : { problem: describeError(err) };
      post({ kind: "log", level, fields: { ...rest, ...problem }, message });
    };
  return {
    debug: write("debug"),
    info: write("info"),
    warn: write("warn"),
    error: write("error"),
  };
}

invariant(parentPort !== null, "dns/worker runs in a worker thread");
// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- cloned from server.ts
await run(parentPort, workerData as WorkerStart);
