const names = [
  "udp",
  "tcp",
  "forwarded",
  "rejected",
  "refused",
  "dropped",
  "limited",
  "errors",
  "searchWalks",
  "cacheHits",
  "cacheMisses",
  "cacheStale",
  "cachePrefetches",
  "cacheEvictions",
  "cacheEntries",
  "cacheBytes",
  "NOERROR",
  "FORMERR",
  "SERVFAIL",
  "NXDOMAIN",
  "NOTIMP",
  "REFUSED",
  "BADVERS",
  "OTHER",
] as const;

export type CounterName = (typeof names)[number];

const rcodeNames: Readonly<Record<number, CounterName>> = {
  0: "NOERROR",
  1: "FORMERR",
  2: "SERVFAIL",
  3: "NXDOMAIN",
  4: "NOTIMP",
  5: "REFUSED",
  16: "BADVERS",
};

export const rcodeCounter = (rcode: number): CounterName => rcodeNames[rcode] ?? "OTHER";

/** All but the cache's size only grow, also over a restart of the worker. */
export interface DnsCounters {
  /** Queries that came over each transport, malformed ones included. */
  readonly queries: { readonly udp: number; readonly tcp: number };
  /** Answers by the name of their rcode: `NOERROR`, `NXDOMAIN` … */
  readonly responses: Readonly<Record<string, number>>;
  /** Queries passed to an upstream, after coalescing. */
  readonly forwarded: number;
  /** Questions for upstreams that had no place: SERVFAIL at once. */
  readonly rejected: number;
  /** First questions of a pod's search walk that were answered with what it was looking for. */
  readonly searchWalks: number;
  /** Queries refused because of where they came from. */
  readonly refused: number;
  /** Messages left without an answer: too short or long, themselves answers, or too many at once. */
  readonly dropped: number;
  /** Datagrams above a client's rate: without an answer, or with one that says "over TCP". */
  readonly limited: number;
  /** Answers that could not be made or sent, for a reason of our own. */
  readonly errors: number;
  readonly cache: CacheCounters;
  /** Times that the worker ended by itself and was started again. */
  readonly restarts: number;
  /** Seconds since the cluster's news were last taken in: nothing changed, or the source is silent. */
  readonly newsAge: number;
}

export interface CacheCounters {
  /** Questions answered from the cache, stale answers and cached failures included. */
  readonly hits: number;
  readonly misses: number;
  /** Of the hits: past their TTL, because no upstream answered. */
  readonly stale: number;
  /** Answers asked for again before their end, because they are in demand. */
  readonly prefetches: number;
  /** Answers that had to leave for others. */
  readonly evictions: number;
  /** Now; of a cache that starts empty after a restart of the worker. */
  readonly entries: number;
  readonly bytes: number;
}

/** Counters in memory that two threads share: the worker counts, the main thread reads at any time. */
export class SharedCounters {
  readonly buffer: SharedArrayBuffer;
  readonly #values: BigInt64Array;

  constructor(buffer = new SharedArrayBuffer(names.length * BigInt64Array.BYTES_PER_ELEMENT)) {
    this.buffer = buffer;
    this.#values = new BigInt64Array(buffer);
  }

  add(name: CounterName, count = 1): void {
    Atomics.add(this.#values, names.indexOf(name), BigInt(count));
  }

  /** For what goes up and down. */
  set(name: "cacheEntries" | "cacheBytes", value: number): void {
    Atomics.store(this.#values, names.indexOf(name), BigInt(value));
  }

  addResponse(rcode: number): void {
    this.add(rcodeCounter(rcode));
  }

  read(): Omit<DnsCounters, "restarts" | "newsAge"> {
    const value = (name: CounterName): number =>
      Number(Atomics.load(this.#values, names.indexOf(name)));
    const rcodes = [...Object.values(rcodeNames), "OTHER" as const];
    return {
      queries: { udp: value("udp"), tcp: value("tcp") },
      responses: Object.fromEntries(rcodes.map((name) => [name, value(name)])),
      forwarded: value("forwarded"),
      rejected: value("rejected"),
      searchWalks: value("searchWalks"),
      refused: value("refused"),
      dropped: value("dropped"),
      limited: value("limited"),
      errors: value("errors"),
      cache: {
        hits: value("cacheHits"),
        misses: value("cacheMisses"),
        stale: value("cacheStale"),
        prefetches: value("cachePrefetches"),
        evictions: value("cacheEvictions"),
        entries: value("cacheEntries"),
        bytes: value("cacheBytes"),
      },
    };
  }
}
