import { setTimeout as delay } from "node:timers/promises";
import type { Clock, Random } from "../../core/clock.ts";
import { toError } from "../../core/error.ts";
import type { Log } from "../../core/log.ts";
import type { ForwardSettings, Upstream } from "../handlers/settings.ts";
import { type Message, Rcode, RecordClass, RecordType } from "../message/message.ts";
import { foldName, rootName } from "../message/name.ts";
import { type Cookies, newCookies, serverCookieIn } from "./client-cookie.ts";
import { withoutMixedCase } from "./mixed-case.ts";
import { isSameCase } from "./upstream-answer.ts";
import { UpstreamConnections } from "./upstream-connections.ts";
import { type Asked, padded, queryMessage } from "./upstream-query.ts";
import type { UpstreamCounts } from "./upstream-stats.ts";
import { formatUpstream } from "./upstream-text.ts";
import { exchangeUdp } from "./upstream.ts";

export interface UpstreamClientOptions {
  readonly upstream: Upstream;
  readonly settings: ForwardSettings;
  readonly clock: Clock;
  readonly random: Random;
  readonly counts: UpstreamCounts;
  readonly log: Log;
  readonly signal: AbortSignal;
}

/** What an upstream cannot do is tried again after so long. */
const incapableMs = 600_000;
const firstProbeMs = 250;
const maxProbeMs = 15_000;
const probeTimeoutMs = 1_000;
/** An upstream that nobody would ask is not probed either. */
const wantedMs = 60_000;

/**
 * One upstream, with what is remembered of it so that not every query pays for its faults again. One
 * that fails is probed, more and more seldom, until it answers.
 */
export class UpstreamClient {
  readonly #options: UpstreamClientOptions;
  readonly #connections: UpstreamConnections;
  #cookies: Cookies;
  /** Asked without EDNS until then. */
  #plainUntilMs = -Infinity;
  /** Asked in lower case until then. */
  #lowerCaseUntilMs = -Infinity;
  #isUp = true;
  #isProbing = false;
  #wantedAtMs = -Infinity;

  constructor(options: UpstreamClientOptions) {
    const { upstream, settings, clock, random, counts, signal } = options;
    this.#options = options;
    this.#cookies = newCookies(random);
    this.#connections = new UpstreamConnections({
      upstream,
      clock,
      random,
      ca: upstream.tls === undefined ? [] : trusted(settings),
      onUse: (isReused) => counts.countConnection(isReused),
    });
    signal.addEventListener("abort", () => this.#connections[Symbol.dispose](), { once: true });
  }

  /** As configured. */
  get name(): string {
    return formatUpstream(this.#options.upstream);
  }

  /** False from a failure until the next answer: others are asked before it. */
  get isUp(): boolean {
    return this.#isUp;
  }

  /** Queries come that it could be asked: worth a probe while it is down. */
  noteDemand(): void {
    this.#wantedAtMs = this.#options.clock.monotonicMs();
    if (!this.#isUp && !this.#isProbing) void this.#probeUntilUp();
  }

  /** Why there is none, when it does not answer, which is logged once until it answers again. */
  async ask(query: Asked, timeoutMs: number): Promise<Message | Error> {
    const { clock, counts, signal } = this.#options;
    const startedAtMs = clock.monotonicMs();
    counts.countRequest();
    try {
      const answer = await this.#exchange(query, timeoutMs);
      counts.countAnswer(answer.rcode, clock.monotonicMs() - startedAtMs);
      this.#noteUp();
      return answer;
    } catch (thrown) {
      const failure = toError(thrown);
      if (!signal.aborted) {
        counts.countFailure(clock.monotonicMs() - startedAtMs);
        this.#noteDown(failure);
      }
      return failure;
    }
  }

  #noteUp(): void {
    if (this.#isUp) return;
    this.#isUp = true;
    this.#options.counts.setUp(true);
    const upstream = formatUpstream(this.#options.upstream);
    this.#options.log.info({ upstream }, "Upstream answers again");
  }

  #noteDown(err: Error): void {
    if (this.#isUp) {
      const upstream = formatUpstream(this.#options.upstream);
      this.#options.log.warn({ err, upstream }, "Upstream does not answer");
    }
    this.#isUp = false;
    this.#options.counts.setUp(false, err.message);
    this.noteDemand();
  }

  // Whatever it answers: it is there. What it knows is for each question to find out.
  async #probeUntilUp(): Promise<void> {
    const { clock, counts, signal } = this.#options;
    this.#isProbing = true;
    let pauseMs = firstProbeMs;
    while (!this.#isUp && clock.monotonicMs() - this.#wantedAtMs < wantedMs) {
      await delay(pauseMs, undefined, { signal, ref: false }).catch(() => {});
      if (signal.aborted || this.#isUp) break;
      try {
        await this.#exchange(probe, probeTimeoutMs);
        this.#noteUp();
      } catch {
        counts.countProbeFailure();
      }
      pauseMs = Math.min(pauseMs * 2, maxProbeMs);
    }
    this.#isProbing = false;
  }

  // All of it within the time for one try: a server that is asked several times has no more of it.
  async #exchange(query: Asked, timeoutMs: number): Promise<Message> {
    const { clock } = this.#options;
    const deadlineMs = clock.monotonicMs() + timeoutMs;
    const answer = await this.#exchangeOnce(query, deadlineMs);
    if (this.#plainUntilMs > clock.monotonicMs() || !rejectsEdns(answer)) return answer;
    this.#plainUntilMs = clock.monotonicMs() + incapableMs;
    return await this.#exchangeOnce(query, deadlineMs);
  }

  async #exchangeOnce(query: Asked, deadlineMs: number): Promise<Message> {
    if (this.#options.upstream.tls !== undefined) {
      return await this.#exchangeStream(padded(this.#message(query, "stream")), deadlineMs);
    }
    const { upstream, signal } = this.#options;
    // The second time with the cookie that came with a BADCOOKIE (RFC 7873 section 5.3).
    for (let round = 0; round < 2; round++) {
      const message = this.#message(query, "datagram");
      const timeoutMs = this.#left(deadlineMs);
      const cookies = this.#cookies;
      const judged = await exchangeUdp({ upstream, query: message, cookies, timeoutMs, signal });
      if (judged.kind === "use-tcp") {
        if (judged.because === "case") return await this.#checkCase(message, deadlineMs);
        return inLowerCase(message, await this.#exchangeStream(message, deadlineMs));
      }
      this.#keepCookie(judged.message);
      if (judged.message.rcode !== Rcode.BADCOOKIE) return inLowerCase(message, judged.message);
    }
    return await this.#exchangeStream(this.#message(query, "stream"), deadlineMs);
  }

  // Either the datagram was forged, or the upstream does not keep the case: the connection shows it.
  async #checkCase(message: Message, deadlineMs: number): Promise<Message> {
    const { clock, log, upstream } = this.#options;
    const lowerCase = (): void => {
      this.#lowerCaseUntilMs = clock.monotonicMs() + incapableMs;
      const fields = { upstream: formatUpstream(upstream) };
      log.info(fields, "Upstream does not keep the case of names: asked in lower case");
    };
    try {
      const answer = await this.#exchangeStream(message, deadlineMs);
      if (!isSameCase(message, answer)) lowerCase();
      return inLowerCase(message, answer);
    } catch (thrown) {
      // No way to tell: better without this guard than without an answer.
      lowerCase();
      throw thrown;
    }
  }

  async #exchangeStream(message: Message, deadlineMs: number): Promise<Message> {
    const answer = await this.#connections.ask(message, this.#left(deadlineMs));
    this.#keepCookie(answer);
    return answer;
  }

  #left(deadlineMs: number): number {
    return Math.max(1, deadlineMs - this.#options.clock.monotonicMs());
  }

  #keepCookie(answer: Message): void {
    if (answer.edns === undefined) return;
    const { client } = this.#cookies;
    const server = serverCookieIn(answer, client);
    if (server !== "not ours") this.#cookies = { client, ...(server && { server }) };
  }

  #message(query: Asked, way: "datagram" | "stream"): Message {
    const { clock, random, settings, upstream } = this.#options;
    const nowMs = clock.monotonicMs();
    const isPlain = this.#plainUntilMs > nowMs;
    const cookies = upstream.tls === undefined ? { cookies: this.#cookies } : {};
    const mixCase = settings.mixCase && way === "datagram" && this.#lowerCaseUntilMs <= nowMs;
    return queryMessage(query, { edns: isPlain ? undefined : cookies, mixCase }, random);
  }
}

const inLowerCase = ({ questions: [asked] }: Message, answer: Message): Message =>
  asked === undefined || asked.name === foldName(asked.name)
    ? answer
    : withoutMixedCase(answer, asked.name);

const probe: Asked = {
  question: { name: rootName, type: RecordType.NS, class: RecordClass.IN },
  checkingDisabled: false,
  dnssecOk: false,
};

/** An answer about how the question was put, not about the question. */
export const rejectsEdns = ({ rcode }: Message): boolean =>
  rcode === Rcode.FORMERR || rcode === Rcode.NOTIMP || rcode === Rcode.BADVERS;

const trusted = ({ ca }: ForwardSettings): readonly string[] =>
  ca === undefined ? machineAuthorities() : [ca];

// Node's own list only where the machine has none.
function machineAuthorities(): readonly string[] {
  const { getCACertificates } = process.getBuiltinModule("node:tls");
  const ofSystem = getCACertificates("system");
  return ofSystem.length > 0 ? ofSystem : getCACertificates("default");
}
