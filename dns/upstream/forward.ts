import type { Ip } from "../../core/address.ts";
import type { Clock, Random } from "../../core/clock.ts";
import type { Log } from "../../core/log.ts";
import { FairShare } from "../clients/fair-share.ts";
import { hostInfo } from "../handlers/any.ts";
import { keyOf, spelledAs } from "../handlers/cache.ts";
import {
  type Answer,
  authoritative,
  failure,
  type Handler,
  type Query,
} from "../handlers/resolver.ts";
import {
  defaultForwardSettings,
  type ForwardSettings,
  type Upstream,
} from "../handlers/settings.ts";
import { stepOf } from "../handlers/trace.ts";
import { answerChain, lastNameOf, soaFor } from "../message/answer-chain.ts";
import {
  ExtendedError,
  type Message,
  Rcode,
  RecordType,
  type ResourceRecord,
} from "../message/message.ts";
import { rcodeText } from "../message/record-text.ts";
import type { SharedCounters } from "../observe/counters.ts";
import { rejectsEdns, UpstreamClient } from "./upstream-client.ts";
import { UpstreamError } from "./upstream-failure.ts";
import { SharedUpstreamStats } from "./upstream-stats.ts";
import { formatUpstream } from "./upstream-text.ts";

export interface ForwardLimits {
  /** For one upstream, one time. */
  readonly tryMs: number;
  /** For all of it: a stub resolver gives up at 5 s and must have an answer before. */
  readonly totalMs: number;
  /** Different questions that wait for upstreams at one time, each of the client that asked first. */
  readonly maxOutstanding: number;
}

export const defaultForwardLimits: ForwardLimits = {
  tryMs: 1000,
  totalMs: 4000,
  maxOutstanding: 1000,
};

export interface ForwardOptions {
  readonly upstreams: readonly Upstream[];
  readonly clock: Clock;
  readonly random: Random;
  readonly counters: SharedCounters;
  readonly log: Log;
  readonly signal: AbortSignal;
  readonly settings?: ForwardSettings;
  /** Default: counted for nobody. */
  readonly stats?: SharedUpstreamStats;
  readonly limits?: Partial<ForwardLimits>;
}

/** How often the list is gone through for one query. */
const maxRounds = 3;

/** The upstreams that do not lead back to this resolver itself: such a query would never end. */
export const withoutOwn = (
  upstreams: readonly Upstream[],
  own: { readonly addresses: readonly Ip[]; readonly port: number },
): Upstream[] =>
  upstreams.filter(({ address, port }) => port !== own.port || !own.addresses.includes(address));

/**
 * Asks the upstreams for everything that came this far: each question that is not in flight already is
 * a query to an upstream. SERVFAIL with the extended error "other" says that this resolver itself has
 * too much to do, and nothing about the question.
 */
export function forwardHandler(options: ForwardOptions): Handler {
  const forwarder = new Forwarder(options);
  return (query) => {
    if (options.upstreams.length === 0 || !query.recursionDesired) {
      return failure(Rcode.REFUSED, ExtendedError.notAuthoritative);
    }
    // RFC 8482: whoever asks for everything gets something small, and no upstream is bothered.
    return query.question.type === RecordType.ANY ? anyAnswer(query) : forwarder.forward(query);
  };
}

class Forwarder {
  readonly #options: ForwardOptions;
  readonly #limits: ForwardLimits;
  readonly #clients: readonly UpstreamClient[];
  readonly #inFlight = new Map<string, Promise<Message | undefined>>();
  readonly #share: FairShare;

  constructor(options: ForwardOptions) {
    this.#options = options;
    this.#limits = { ...defaultForwardLimits, ...options.limits };
    this.#share = new FairShare(this.#limits.maxOutstanding);
    const { upstreams, settings = defaultForwardSettings, ...rest } = options;
    const stats = options.stats ?? new SharedUpstreamStats();
    this.#clients = upstreams.map((upstream) => {
      const counts = stats.of(formatUpstream(upstream));
      return new UpstreamClient({ ...rest, upstream, settings, counts });
    });
  }

  async forward(query: Query): Promise<Answer> {
    const asked = this.#coalesce(query);
    if (asked === undefined) {
      this.#options.counters.add("rejected");
      return failure(Rcode.SERVFAIL, ExtendedError.other);
    }
    const answer = await asked;
    return answer === undefined
      ? failure(Rcode.SERVFAIL, ExtendedError.noReachableAuthority)
      : answerFrom(query, answer);
  }

  // Never two equal queries at one time: it would double an off-path forger's chance (RFC 5452
  // section 5), and a forwarding loop through another server ends on itself here. Undefined: its client
  // has begun as many as it may.
  #coalesce(query: Query): Promise<Message | undefined> | undefined {
    const key = keyOf(query);
    const running = this.#inFlight.get(key);
    if (running !== undefined) {
      query.trace?.({ ...stepOf(query, "upstream"), of: "a query that was on its way" });
      return running;
    }
    const { address } = query.client;
    if (!this.#share.enter(address)) return undefined;
    this.#options.counters.add("forwarded");
    const asked = this.#ask(query).finally(() => {
      this.#inFlight.delete(key);
      this.#share.leave(address);
    });
    this.#inFlight.set(key, asked);
    return asked;
  }

  // Undefined: no upstream answered in time. A refusal or failure is only believed when no other
  // upstream knows better.
  async #ask(query: Query): Promise<Message | undefined> {
    const { clock } = this.#options;
    const deadlineMs = clock.monotonicMs() + this.#limits.totalMs;
    const failed = new Map<UpstreamClient, Message>();
    for (const client of this.#clients) client.noteDemand();
    for (let round = 0; round < maxRounds; round++) {
      for (const client of this.#inOrder().filter((client) => !failed.has(client))) {
        const leftMs = deadlineMs - clock.monotonicMs();
        if (leftMs <= 0 || this.#options.signal.aborted) return lastOf(failed);
        const askedAtMs = clock.monotonicMs();
        const answer = await client.ask(query, Math.min(leftMs, this.#limits.tryMs));
        query.trace?.({
          ...stepOf(query, "upstream"),
          of: client.name,
          ...(answer instanceof Error
            ? { rcode: "no answer", problem: problemOf(answer) }
            : { rcode: rcodeText(answer.rcode) }),
          elapsedMs: clock.monotonicMs() - askedAtMs,
        });
        if (answer instanceof Error) continue;
        if (answer.rcode === Rcode.NOERROR || answer.rcode === Rcode.NXDOMAIN) return answer;
        failed.set(client, answer);
      }
    }
    return lastOf(failed);
  }

  #inOrder(): UpstreamClient[] {
    return this.#clients.toSorted((a, b) => Number(b.isUp) - Number(a.isUp));
  }
}

const problemOf = (error: Error): string =>
  error instanceof UpstreamError ? error.problem : error.message;

const lastOf = (failed: ReadonlyMap<UpstreamClient, Message>): Message | undefined =>
  [...failed.values()].at(-1);

/**
 * What of an upstream's answer the client gets, in the client's own spelling of the name: the chain
 * that answers it; for a negative answer the SOA, for whoever checks signatures the proofs. The
 * additional section could name anything, and nobody needs it.
 */
function answerFrom(query: Query, message: Message): Answer {
  const { question, dnssecOk } = query;
  // What an upstream says about EDNS concerns us, not the client.
  const rcode = message.rcode > 15 || rejectsEdns(message) ? Rcode.SERVFAIL : message.rcode;
  const answers = answerChain(question, message.answers);
  const isAnswered = answers.some(({ type }) => type === question.type);
  const soa = isAnswered ? undefined : soaFor(lastNameOf(question, answers), message.authorities);
  const isProof = ({ type }: ResourceRecord): boolean => dnssecOk && proofTypes.has(type);
  const authorities = message.authorities.filter((record) => record === soa || isProof(record));
  return spelledAs(question.name, {
    rcode,
    authoritative: false,
    answers,
    authorities,
    additionals: [],
  });
}

const proofTypes: ReadonlySet<number> = new Set([
  RecordType.RRSIG,
  RecordType.NSEC,
  RecordType.NSEC3,
]);

const anyAnswer = ({ question }: Query): Answer => ({
  ...authoritative(Rcode.NOERROR, [hostInfo(question)]),
  authoritative: false,
});
