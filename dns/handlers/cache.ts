import { lastNameOf, soaFor } from "../message/answer-chain.ts";
import { type Question, Rcode, type RecordData, type ResourceRecord } from "../message/message.ts";
import { foldName, type Name } from "../message/name.ts";
import type { Answer, Query } from "./resolver.ts";

export interface CacheSettings {
  /** Bound of all entries together, by {@link answerOctets}; 0: nothing is kept. */
  readonly maxBytes: number;
  /** Seconds. Answers that live longer are asked for again after this time. */
  readonly maxTtl: number;
  /** Seconds. Answers that live shorter are kept for this time; 0: as long as their zone says. */
  readonly minTtl: number;
  /** Seconds, of "no such name" and "no such record". */
  readonly maxNegativeTtl: number;
  /** Seconds past its TTL that an answer may still be used when no upstream answers; 0: never. */
  readonly maxStale: number;
}

export const defaultCacheSettings: CacheSettings = {
  maxBytes: 16 * 1024 * 1024,
  maxTtl: 3600,
  minTtl: 0,
  maxNegativeTtl: 1800,
  maxStale: 86_400,
};

/** Seconds, of what is handed out past its TTL: RFC 8767 section 4. */
const staleTtl = 30;
/** RFC 9520 section 3.2: a failure is kept for a moment, longer each time, 5 minutes at the most. */
const firstFailureMs = 1_000;
const maxFailureMs = 30_000;
const maxFailures = 4096;
// A guess, on the large side, at what V8 spends on an entry and on a record beside their octets.
const entryOctets = 400;
const recordOctets = 300;

export interface CacheEntry {
  readonly key: string;
  readonly answer: Answer;
  readonly octets: number;
  readonly storedAtMs: number;
  /** Milliseconds from `storedAtMs`. */
  readonly lifeMs: number;
  /** How often it was handed out. */
  hits: number;
  /** A refresh is on its way. */
  isRefreshing: boolean;
}

/** `fresh` within its TTL, `stale` past it, but young enough for when no upstream answers. */
export interface Found {
  readonly entry: CacheEntry;
  readonly isStale: boolean;
}

interface Failure {
  readonly rcode: number;
  readonly untilMs: number;
  readonly lengthMs: number;
}

/**
 * Answers of upstreams, by question. No I/O and no clock of its own: times are milliseconds of a clock
 * that never jumps. Who was used longest ago leaves first.
 */
export class AnswerCache {
  readonly #settings: CacheSettings;
  // In order of use: a Map keeps the order in which keys were set.
  readonly #entries = new Map<string, CacheEntry>();
  readonly #failures = new Map<string, Failure>();
  #bytes = 0;
  #evictions = 0;

  constructor(settings: CacheSettings) {
    this.#settings = settings;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** How many entries had to leave for others. */
  get evictions(): number {
    return this.#evictions;
  }

  /** The entry for the question itself, or the NXDOMAIN for all types of its name. */
  find(query: Query, nowMs: number): Found | undefined {
    const exact = this.#findKey(keyOf(query), nowMs);
    if (exact?.isStale === false) return exact;
    const absent = this.#findKey(absentKeyOf(query), nowMs);
    if (absent === undefined || exact === undefined) return exact ?? absent;
    return exact.entry.storedAtMs >= absent.entry.storedAtMs && absent.isStale ? exact : absent;
  }

  /** Keeps the answer if it may be kept. What it takes the place of is gone either way. */
  store(query: Query, answer: Answer, nowMs: number): void {
    this.#failures.delete(keyOf(query));
    const ttl = lifeOf(query.question, answer, this.#settings);
    const key = isAbsent(answer) ? absentKeyOf(query) : keyOf(query);
    this.#remove(key);
    // The name exists after all, or does not any more.
    if (key === keyOf(query)) this.#remove(absentKeyOf(query));
    else this.#remove(keyOf(query));
    if (ttl === undefined || ttl === 0) return;
    const kept = withTtl(answer, ttl);
    const octets = key.length * 2 + answerOctets(kept);
    if (octets > this.#settings.maxBytes) return;
    this.#entries.set(key, {
      key,
      answer: kept,
      octets,
      storedAtMs: nowMs,
      lifeMs: ttl * 1000,
      hits: 0,
      isRefreshing: false,
    });
    this.#bytes += octets;
    this.#shrink(this.#settings.maxBytes);
  }

  /** Remembers that the question could not be answered. */
  storeFailure(query: Query, rcode: number, nowMs: number): void {
    const key = keyOf(query);
    const before = this.#failures.get(key);
    if (before !== undefined && before.untilMs > nowMs) return;
    const isRepeated = before !== undefined && nowMs - before.untilMs < maxFailureMs;
    const lengthMs = isRepeated ? Math.min(maxFailureMs, before.lengthMs * 2) : firstFailureMs;
    this.#failures.delete(key);
    this.#failures.set(key, { rcode, lengthMs, untilMs: nowMs + lengthMs });
    const [oldest] = this.#failures.keys();
    if (this.#failures.size > maxFailures && oldest !== undefined) this.#failures.delete(oldest);
  }

  /** The rcode of a failure that is too young to ask again. */
  findFailure(query: Query, nowMs: number): number | undefined {
    const failure = this.#failures.get(keyOf(query));
    return failure !== undefined && failure.untilMs > nowMs ? failure.rcode : undefined;
  }

  #findKey(key: string, nowMs: number): Found | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    const ageMs = nowMs - entry.storedAtMs;
    if (ageMs >= entry.lifeMs + this.#settings.maxStale * 1000) {
      this.#remove(key);
      return undefined;
    }
    // To the end: used last.
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    return { entry, isStale: ageMs >= entry.lifeMs };
  }

  #remove(key: string): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    this.#entries.delete(key);
    this.#bytes -= entry.octets;
  }

  #shrink(maxBytes: number): void {
    for (const key of this.#entries.keys()) {
      if (this.#bytes <= maxBytes) return;
      this.#remove(key);
      this.#evictions++;
    }
  }
}

/** Equal for questions that have equal answers: the case of the name does not count. */
export const keyOf = ({ question, dnssecOk, checkingDisabled }: Query): string =>
  `${foldName(question.name)}${question.type} ${question.class} ${dnssecOk} ${checkingDisabled}`;

// RFC 2308 section 5: a name that does not exist has no type.
const absentKeyOf = (query: Query): string =>
  keyOf({ ...query, question: { ...query.question, type: -1 } });

// Behind a CNAME it is the target that does not exist.
const isAbsent = ({ rcode, answers }: Answer): boolean =>
  rcode === Rcode.NXDOMAIN && answers.length === 0;

/** Seconds that an answer may be kept; undefined: not at all (RFC 2181 section 8, RFC 2308 section 5). */
export function lifeOf(
  question: Question,
  { rcode, answers, authorities }: Answer,
  settings: CacheSettings,
): number | undefined {
  if (rcode !== Rcode.NOERROR && rcode !== Rcode.NXDOMAIN) return undefined;
  const { maxTtl, minTtl, maxNegativeTtl } = settings;
  const ttls = answers.map(({ ttl }) => ttl);
  const isAnswered = rcode === Rcode.NOERROR && answers.some(({ type }) => type === question.type);
  if (isAnswered) return clamp(Math.min(...ttls), minTtl, maxTtl);
  // Without the SOA of a zone that the name is in it is a referral, or nonsense.
  const soa = soaFor(lastNameOf(question, answers), authorities);
  if (soa?.data.kind !== "soa") return undefined;
  const ttl = Math.min(soa.ttl, soa.data.minimum, ...ttls);
  return clamp(ttl, Math.min(minTtl, maxNegativeTtl), maxNegativeTtl);
}

const clamp = (value: number, least: number, most: number): number =>
  Math.min(Math.max(value, least), most);

/** The answer `ageMs` after it was stored, in the asker's own spelling of the name. */
export function agedAnswer({ question }: Query, { entry, isStale }: Found, nowMs: number): Answer {
  // Rounded up while it lives: a TTL of 0 would say that it must not be used.
  const leftMs = entry.storedAtMs + entry.lifeMs - nowMs;
  return spelledAs(
    question.name,
    withTtl(entry.answer, isStale ? staleTtl : Math.ceil(leftMs / 1000)),
  );
}

/** Records of the name asked get the spelling of the asker. */
export function spelledAs(name: Name, answer: Answer): Answer {
  const folded = foldName(name);
  const spell = (record: ResourceRecord): ResourceRecord =>
    record.name !== name && foldName(record.name) === folded ? { ...record, name } : record;
  return {
    ...answer,
    answers: answer.answers.map(spell),
    authorities: answer.authorities.map(spell),
  };
}

// One TTL for all of an answer, its least: the parts are of no use without each other.
function withTtl(answer: Answer, ttl: number): Answer {
  const set = (record: ResourceRecord): ResourceRecord => ({ ...record, ttl });
  return { ...answer, answers: answer.answers.map(set), authorities: answer.authorities.map(set) };
}

/** What an answer takes in memory, roughly. Octets. */
export const answerOctets = ({ answers, authorities }: Answer): number =>
  [...answers, ...authorities].reduce(
    (sum, { name, data }) => sum + recordOctets + name.length + dataOctets(data),
    entryOctets,
  );

function dataOctets(data: RecordData): number {
  switch (data.kind) {
    case "address":
      return data.address.length;
    case "name":
      return data.name.length;
    case "soa":
      return data.primary.length + data.mailbox.length;
    case "srv":
      return data.target.length;
    case "txt":
      return data.strings.reduce((sum, text) => sum + text.length + 32, 0);
    case "opaque":
      return data.octets.length;
  }
}
