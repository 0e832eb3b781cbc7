import { randomBytes } from "node:crypto";
import { closeSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import type { Ip } from "../core/address.ts";
import type { Snapshot } from "../core/cluster/model.ts";
import { ConfigError, toError } from "../core/error.ts";
import { secretOctets } from "./clients/server-cookie.ts";
import { GatheredPods } from "./cluster/gathered-pods.ts";
import type { PodsUpdate } from "./cluster/pod-book.ts";
import { PodTurns } from "./cluster/pod-turns.ts";
import { ZoneFeed } from "./cluster/zone-feed.ts";
import type { ExplainOutcome, Explanation, ExplainRequest } from "./handlers/explain.ts";
import type { Upstream } from "./handlers/settings.ts";
import { SharedDescriptors } from "./listen/shared-descriptors.ts";
import { joinName, parseName } from "./message/name.ts";
import { type DnsCounters, SharedCounters } from "./observe/counters.ts";
import { SharedTraffic, type TrafficReading, type Transport } from "./observe/traffic.ts";
import type { DnsOptions, InheritedSockets } from "./options.ts";
import { SharedUpstreamStats, type UpstreamReading } from "./upstream/upstream-stats.ts";
import type { FromWorker, ToWorker, WorkerStart } from "./worker-protocol.ts";

export type { DnsCounters } from "./observe/counters.ts";
export type { DnsOptions, InheritedSockets } from "./options.ts";
export type { ForwardSettings, Upstream } from "./handlers/settings.ts";
export type { PodNames } from "./cluster/zone.ts";
export type { HistogramReading } from "./observe/histogram.ts";
export type { TrafficReading, Transport } from "./observe/traffic.ts";
export type { UpstreamReading } from "./upstream/upstream-stats.ts";

export interface DnsServer extends AsyncDisposable {
  /** Hands over the cluster's newest state. Returns at once; only the newest is kept. */
  publish(snapshot: Snapshot): void;
  /** Asks these from now on; questions on their way are still answered by those before. */
  useUpstreams(upstreams: readonly Upstream[]): void;
  /**
   * Where the answer to a question comes from. Rejects where the name is none, and when one of the threads does
   * not answer, or has too many such questions.
   */
  explain(request: ExplainRequest): Promise<Explanation>;
  counters(): DnsCounters;
  /** Durations and sizes of answers. */
  traffic(): Readonly<Record<Transport, TrafficReading>>;
  /** Each upstream that was used since the start. */
  upstreams(): readonly UpstreamReading[];
  /** The addresses now bound, of those configured. */
  listening(): readonly Ip[];
  /** Descriptors of the bound sockets, for another process; they stay the server's. */
  sockets(): readonly number[];
  /** Somebody else has the sockets: disposed, it takes the time to answer all that it has taken. */
  noteSuccessor(): void;
}

/**
 * Starts the resolver in its own thread. Resolves once each address was bound or its failure was
 * logged (it is tried again). Rejects with ConfigError for a `domain` or `ttl` that cannot be served,
 * and with the thread's error when it does not start at all.
 */
export async function startDns(options: DnsOptions): Promise<DnsServer> {
  checkOptions(options);
  const server = new ThreadedDnsServer(options);
  try {
    await server.start();
  } catch (thrown) {
    await server[Symbol.asyncDispose]();
    throw new Error("Cannot start the resolver's thread", { cause: thrown });
  }
  return server;
}

const firstRestartMs = 100;
const maxRestartMs = 10_000;
/** A worker that ran for so long starts again with the shortest pause. */
const stableMs = 60_000;
/** For answers that were begun before an update of pods; then whoever waits goes on. */
const podsMs = 100;
/** What is answered at once takes less. */
const answerMs = 1;
/** Longer than upstreams have for an answer, and each of a chain's steps. */
const explainMs = 10_000;
const maxExplaining = 16;
const notAnswered: ExplainOutcome = {
  kind: "failed",
  problem: "The resolver's threads do not answer: see the daemon's log",
};
/** For closing sockets; then the thread is ended. */
const stopMs = 2_000;
/** For queries that wait for upstreams: while nobody else answers, the next daemon shall come soon. */
const drainMs = 500;
/** As long as upstreams have at the most. */
const longDrainMs = 4_500;

class ThreadedDnsServer implements DnsServer {
  #options: DnsOptions;
  readonly #counters = new SharedCounters();
  readonly #cookieSecret = randomBytes(secretOctets);
  readonly #traffic = new SharedTraffic();
  readonly #upstreamStats = new SharedUpstreamStats();
  readonly #descriptors = new SharedDescriptors();
  readonly #feed: ZoneFeed;
  /** With the descriptors of their sockets. */
  readonly #listening = new Map<Ip, readonly number[]>();
  #hasSuccessor = false;
  readonly #tried = new Set<Ip>();
  readonly #stop = new AbortController();
  #worker: Worker | undefined;
  #latest: Snapshot | undefined;
  /** The snapshot that the worker has, or is being sent. */
  #sent: Snapshot | undefined;
  #isApplying = false;
  #restarts = 0;
  #newsAtMs = performance.now();
  /** Questions of the operator's, by turn. */
  readonly #explaining = new Map<number, (outcome: ExplainOutcome) => void>();
  #turn = 0;
  readonly #gathered = new GatheredPods((updates, turn) =>
    this.#post({ kind: "pods", updates, ...(turn !== undefined && { turn }) }),
  );
  /** Of the worker that runs. */
  #podTurns = new PodTurns();
  #running: Promise<void> = Promise.resolve();

  constructor(options: DnsOptions) {
    const [ours, others] = inheritedBy(options);
    for (const fd of others) closeSync(fd);
    this.#options = { ...options, inherited: ours };
    this.#latest = options.snapshot;
    this.#feed = new ZoneFeed(options.pods === "verified");
    options.podBook?.follow((update, isAwaited) => this.#sendPods(update, isAwaited));
  }

  /** Resolves when every address has been tried. Rejects when the first worker ends before that. */
  start(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const ended = this.#runWorker(resolve);
    ended.catch(reject);
    this.#running = ended.then(
      () => {},
      (thrown: unknown) => (this.#tried.size > 0 ? this.#keepRunning(thrown) : undefined),
    );
    if (this.#options.addresses.length === 0) resolve();
    return promise;
  }

  publish(snapshot: Snapshot): void {
    this.#latest = snapshot;
    this.#sendNewest();
  }

  useUpstreams(upstreams: readonly Upstream[]): void {
    this.#options = { ...this.#options, upstreams };
    this.#post({ kind: "upstreams", upstreams });
  }

  counters(): DnsCounters {
    const newsAge = (performance.now() - this.#newsAtMs) / 1000;
    return { ...this.#counters.read(), restarts: this.#restarts, newsAge };
  }

  traffic(): Readonly<Record<Transport, TrafficReading>> {
    return this.#traffic.read();
  }

  upstreams(): readonly UpstreamReading[] {
    return this.#upstreamStats.read();
  }

  listening(): readonly Ip[] {
    return this.#options.addresses.filter((address) => this.#listening.has(address));
  }

  sockets(): readonly number[] {
    return [...this.#listening.values()].flat();
  }

  noteSuccessor(): void {
    this.#hasSuccessor = true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    const forAnswersMs = this.#hasSuccessor ? longDrainMs : drainMs;
    this.#post({ kind: "stop", drainMs: forAnswersMs });
    const worker = this.#worker;
    const late = setTimeout(() => void worker?.terminate(), forAnswersMs + stopMs);
    await this.#running;
    clearTimeout(late);
  }

  async #keepRunning(firstFailure: unknown): Promise<void> {
    let failure = firstFailure;
    let pauseMs = firstRestartMs;
    const { log } = this.#options;
    while (!this.#stop.signal.aborted) {
      log.error({ err: toError(failure), pauseMs }, "Resolver thread ended, starting it again");
      await delay(pauseMs, undefined, { signal: this.#stop.signal }).catch(() => {});
      if (this.#stop.signal.aborted) return;
      this.#restarts++;
      const startedAtMs = performance.now();
      try {
        await this.#runWorker(() => {});
      } catch (thrown) {
        failure = thrown;
      }
      const wasStable = performance.now() - startedAtMs >= stableMs;
      pauseMs = wasStable ? firstRestartMs : Math.min(pauseMs * 2, maxRestartMs);
    }
  }

  /** Resolves when the worker ends because it was told to, rejects when it ends otherwise. */
  #runWorker(onTried: () => void): Promise<void> {
    const {
      log: _,
      podBook,
      workerUrl,
      onSockets: _told,
      inherited,
      snapshot: _first,
      ...plain
    } = this.#options;
    this.#podTurns = new PodTurns();
    const start: WorkerStart = {
      ...plain,
      // Once: a thread that comes after has to bind anew.
      ...(this.#restarts === 0 && inherited && { inherited }),
      awaitsUpdate: this.#latest !== undefined,
      counters: this.#counters.buffer,
      cookieSecret: this.#cookieSecret,
      traffic: this.#traffic.buffer,
      upstreamStats: this.#upstreamStats.buffer,
      descriptors: this.#descriptors.buffer,
      podTurns: this.#podTurns.buffer,
    };
    const url = workerUrl ?? new URL("./worker.ts", import.meta.url);
    // Its descriptors are known: Node need not look after them, and would warn of each.
    const worker = new Worker(url, {
      workerData: start,
      name: "fairlead-dns",
      trackUnmanagedFds: false,
    });
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#worker = worker;
    this.#feed.reset();
    this.#sent = undefined;
    this.#isApplying = false;
    if (podBook !== undefined) void this.#sendPods(podBook.complete(), false);
    this.#sendNewest();
    worker.on("message", (message: FromWorker) => this.#receive(message, onTried));
    worker.on("error", reject);
    worker.on("exit", (code) => {
      this.#worker = undefined;
      this.#listening.clear();
      for (const tell of this.#explaining.values()) tell(notAnswered);
      this.#descriptors.closeAll();
      if (this.#stop.signal.aborted) resolve();
      else reject(new Error(`Resolver thread ended with code ${code}`));
    });
    return promise;
  }

  #receive(message: FromWorker, onTried: () => void): void {
    switch (message.kind) {
      case "applied":
        this.#isApplying = false;
        this.#newsAtMs = performance.now();
        this.#sendNewest();
        return;
      case "explained":
        this.#explaining.get(message.turn)?.(message.outcome);
        return;
      case "state":
        this.#tried.add(message.address);
        if (message.isListening) this.#listening.set(message.address, message.fds);
        else this.#listening.delete(message.address);
        this.#options.onSockets?.();
        if (this.#tried.size === this.#options.addresses.length) onTried();
        return;
      case "log":
        this.#options.log[message.level](message.fields, message.message);
    }
  }

  // One update is on its way at a time: a slow worker gets the newest state next, not every one.
  #sendNewest(): void {
    const snapshot = this.#latest;
    if (snapshot === undefined || snapshot === this.#sent) return;
    if (this.#isApplying || this.#worker === undefined) return;
    this.#isApplying = true;
    this.#sent = snapshot;
    this.#post({ kind: "update", update: this.#feed.next(snapshot) });
  }

  async explain(request: ExplainRequest): Promise<Explanation> {
    if (this.#explaining.size >= maxExplaining) {
      throw new Error(`Cannot explain more than ${maxExplaining} questions at a time`);
    }
    const { promise, resolve } = Promise.withResolvers<ExplainOutcome>();
    const turn = this.#turn++;
    this.#explaining.set(turn, resolve);
    const late = setTimeout(() => resolve(notAnswered), explainMs);
    this.#post({ kind: "explain", request, turn });
    if (this.#worker === undefined) resolve(notAnswered);
    try {
      const outcome = await promise;
      if (outcome.kind === "failed") throw new Error(outcome.problem);
      return outcome.explanation;
    } finally {
      clearTimeout(late);
      this.#explaining.delete(turn);
    }
  }

  // Who ends a pod waits for answers that may still have its name: seldom, and but a moment.
  async #sendPods(update: PodsUpdate, isAwaited: boolean): Promise<void> {
    const worker = this.#worker;
    if (worker === undefined) return;
    if (!isAwaited) {
      this.#gathered.add(update);
      return;
    }
    const turn = this.#podTurns.next;
    this.#gathered.flushWith(update, turn);
    const mayAnswer = this.#podTurns.tell(turn);
    const giveUpAtMs = performance.now() + podsMs;
    while (mayAnswer() && this.#worker === worker && performance.now() < giveUpAtMs) {
      await delay(answerMs);
    }
  }

  #post(message: ToWorker): void {
    this.#worker?.postMessage(message);
  }
}

// What of the inherited sockets is for our addresses, and the descriptors of all others.
function inheritedBy({
  inherited = [],
  addresses,
  port,
}: DnsOptions): readonly [readonly InheritedSockets[], readonly number[]] {
  const isOurs = (one: InheritedSockets): boolean =>
    one.port === port && addresses.includes(one.address);
  const others = inherited.filter((one) => !isOurs(one));
  return [
    inherited.filter(isOurs),
    others.flatMap(({ udp, tcp }) => [udp, tcp].filter((fd) => fd !== undefined)),
  ];
}

function checkOptions({ domain, ttl }: DnsOptions): void {
  const name = parseName(domain);
  // The zone's own names, such as those of SOA records, must fit below it.
  if (name === undefined || name.length < 2 || joinName(["hostmaster"], name) === undefined) {
    throw new ConfigError("dns.domain", `Cannot serve "${domain}": expected a domain name`);
  }
  if (!Number.isInteger(ttl) || ttl < 0 || ttl > 3600) {
    throw new ConfigError("dns.ttl", `Cannot use ${ttl}: expected whole seconds from 0 to 3600`);
  }
}
