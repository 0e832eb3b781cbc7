const names = [
  "udp",
  "tcp",
  "forwarded",
  "refused",
  "dropped",
  "errors",
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

/** All only grow, also over a restart of the worker. */
export interface DnsCounters {
  /** Queries that came over each transport, malformed ones included. */
  readonly queries: { readonly udp: number; readonly tcp: number };
  /** Answers by the name of their rcode: `NOERROR`, `NXDOMAIN` … */
  readonly responses: Readonly<Record<string, number>>;
  /** Queries passed to an upstream, after coalescing. */
  readonly forwarded: number;
  /** Queries refused because of where they came from. */
  readonly refused: number;
  /** Messages left without an answer: too short, or themselves answers. */
  readonly dropped: number;
  /** Answers that could not be made or sent, for a reason of our own. */
  readonly errors: number;
  /** Times that the worker ended by itself and was started again. */
  readonly restarts: number;
}

/** Counters in memory that two threads share: the worker counts, the main thread reads at any time. */
export class SharedCounters {
  readonly buffer: SharedArrayBuffer;
  readonly #values: BigInt64Array;

  constructor(buffer = new SharedArrayBuffer(names.length * BigInt64Array.BYTES_PER_ELEMENT)) {
    this.buffer = buffer;
    this.#values = new BigInt64Array(buffer);
  }

  add(name: CounterName): void {
    Atomics.add(this.#values, names.indexOf(name), 1n);
  }

  addResponse(rcode: number): void {
    this.add(rcodeNames[rcode] ?? "OTHER");
  }

  read(): Omit<DnsCounters, "restarts"> {
    const value = (name: CounterName): number =>
      Number(Atomics.load(this.#values, names.indexOf(name)));
    const rcodes = [...Object.values(rcodeNames), "OTHER" as const];
    return {
      queries: { udp: value("udp"), tcp: value("tcp") },
      responses: Object.fromEntries(rcodes.map((name) => [name, value(name)])),
      forwarded: value("forwarded"),
      refused: value("refused"),
      dropped: value("dropped"),
      errors: value("errors"),
    };
  }
}
