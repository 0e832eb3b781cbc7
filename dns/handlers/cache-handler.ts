import { setTimeout as delay } from "node:timers/promises";
import type { Clock } from "../../core/clock.ts";
import { ExtendedError, Rcode, RecordType } from "../message/message.ts";
import { rcodeText } from "../message/record-text.ts";
import type { SharedCounters } from "../observe/counters.ts";
import { agedAnswer, AnswerCache, type CacheSettings, type Found } from "./cache.ts";
import {
  type Answer,
  type Eventually,
  failure,
  type Handler,
  type Query,
  type Resolve,
  type Reuse,
} from "./resolver.ts";
import { stepOf } from "./trace.ts";

export interface CacheHandlerOptions {
  readonly settings: CacheSettings;
  readonly clock: Clock;
  readonly counters: SharedCounters;
  /** How long a client waits for upstreams before it gets a stale answer: RFC 8767 section 5. */
  readonly staleAfterMs?: number;
}

/** An answer is asked for again once a tenth of its life is left, and this many asked for it. */
const prefetchShare = 0.1;
const prefetchHits = 3;
const maxPrefetches = 64;

/** Answers from what `next` answered before. */
export function cacheHandler(options: CacheHandlerOptions): Handler {
  const caching = new Caching(options);
  return (query, next) =>
    // RD=0 and ANY never reach an upstream.
    query.recursionDesired && query.question.type !== RecordType.ANY
      ? caching.answer(query, next)
      : next(query);
}

class Caching {
  readonly #cache: AnswerCache;
  readonly #clock: Clock;
  readonly #counters: SharedCounters;
  readonly #staleAfterMs: number;
  #prefetches = 0;

  constructor({ settings, clock, counters, staleAfterMs = 1800 }: CacheHandlerOptions) {
    this.#cache = new AnswerCache(settings);
    this.#clock = clock;
    this.#counters = counters;
    this.#staleAfterMs = staleAfterMs;
    this.#count();
  }

  answer(query: Query, next: Resolve): Eventually<Answer> {
    const nowMs = this.#clock.monotonicMs();
    const found = this.#cache.find(query, nowMs);
    if (found?.isStale === false) {
      this.#counters.add("cacheHits");
      this.#prefetchIfWorthwhile(query, found, next);
      this.#tell(query, found);
      return { ...agedAnswer(query, found, nowMs), reuse: reuseOf(query, found) };
    }
    // RFC 9520: who just failed is not asked again at once.
    const rcode = this.#cache.findFailure(query, nowMs);
    if (found !== undefined) {
      return rcode === undefined ? this.#refresh(query, found, next) : this.#stale(query, found);
    }
    this.#counters.add(rcode === undefined ? "cacheMisses" : "cacheHits");
    if (rcode === undefined) return this.#ask(query, next);
    query.trace?.({ ...stepOf(query, "cache"), rcode: rcodeText(rcode) });
    return failure(rcode, ExtendedError.cachedError);
  }

  async #ask(query: Query, next: Resolve): Promise<Answer> {
    const answer = await next(query);
    this.#keep(query, answer);
    return answer;
  }

  // The upstreams have a moment; past that the old answer does, and theirs is for the next client.
  async #refresh(query: Query, found: Found, next: Resolve): Promise<Answer> {
    const waited = new AbortController();
    const { signal } = waited;
    const late = delay(this.#staleAfterMs, undefined, { signal }).catch(() => undefined);
    const answer = await Promise.race([this.#ask(query, next), late]).finally(() => waited.abort());
    if (answer === undefined || !isOfUse(answer)) return this.#stale(query, found);
    this.#counters.add("cacheMisses");
    return answer;
  }

  #tell({ trace, ...query }: Query, { entry, isStale }: Found): void {
    const ageMs = this.#clock.monotonicMs() - entry.storedAtMs;
    trace?.({ ...stepOf(query, "cache"), rcode: rcodeText(entry.answer.rcode), ageMs, isStale });
  }

  #stale(query: Query, found: Found): Answer {
    this.#tell(query, found);
    this.#counters.add("cacheHits");
    this.#counters.add("cacheStale");
    const answer = agedAnswer(query, found, this.#clock.monotonicMs());
    const isAbsent = answer.rcode === Rcode.NXDOMAIN;
    const extendedError = isAbsent ? ExtendedError.staleNxdomain : ExtendedError.stale;
    return { ...answer, extendedError };
  }

  #prefetchIfWorthwhile(query: Query, { entry }: Found, next: Resolve): void {
    entry.hits++;
    const leftMs = entry.storedAtMs + entry.lifeMs - this.#clock.monotonicMs();
    if (entry.isRefreshing || entry.hits < prefetchHits) return;
    if (leftMs > entry.lifeMs * prefetchShare || this.#prefetches >= maxPrefetches) return;
    if (this.#cache.findFailure(query, this.#clock.monotonicMs()) !== undefined) return;
    entry.isRefreshing = true;
    this.#prefetches++;
    this.#counters.add("cachePrefetches");
    this.#ask(query, next)
      // The next client that needs it asks again, and hears of it.
      .catch(() => {})
      .finally(() => {
        this.#prefetches--;
        entry.isRefreshing = false;
      });
  }

  #keep(query: Query, answer: Answer): void {
    const nowMs = this.#clock.monotonicMs();
    if (isOfUse(answer)) this.#cache.store(query, answer, nowMs);
    // "Other": this resolver had no time, the upstreams were not asked.
    else if (answer.extendedError !== ExtendedError.other) {
      this.#cache.storeFailure(query, answer.rcode, nowMs);
    }
    this.#count();
  }

  #evictions = 0;

  #count(): void {
    this.#counters.set("cacheEntries", this.#cache.size);
    this.#counters.set("cacheBytes", this.#cache.bytes);
    this.#counters.add("cacheEvictions", this.#cache.evictions - this.#evictions);
    this.#evictions = this.#cache.evictions;
  }
}

// Up to when it is asked for again: whoever comes from then on must be counted here.
function reuseOf({ question }: Query, { entry }: Found): Reuse {
  const endMs = entry.storedAtMs + entry.lifeMs;
  const untilMs = endMs - entry.lifeMs * prefetchShare;
  return { kind: "cached", name: question.name, untilMs, endMs };
}

const isOfUse = ({ rcode }: Answer): boolean => rcode === Rcode.NOERROR || rcode === Rcode.NXDOMAIN;
