// What was asked of each upstream, in memory that the resolver's threads share: whoever asks counts, the
// main thread reads at any time. Slots are found by the upstream's text, so that they outlive a restart.
import { Rcode } from "../message/message.ts";
import { Histogram, type HistogramReading } from "../observe/histogram.ts";

/** CoreDNS's, from 0.25 ms to 8 s. Seconds. */
export const forwardBuckets: readonly number[] = Array.from(
  { length: 16 },
  (_, n) => 0.000_25 * 2 ** n,
);

const rcodeNames: Readonly<Record<number, string>> = Object.fromEntries(
  Object.entries(Rcode).map(([name, rcode]) => [rcode, name]),
);
const outcomes = [...Object.values(rcodeNames), "OTHER", "none"] as const;

const counts = ["requests", "probeFailures", "opened", "reused", "isDown"] as const;
type Count = (typeof counts)[number];

const textOctets = 64;
const problemOctets = 320;
const slotCount = 64;
const valueCount = counts.length + outcomes.length + Histogram.length(forwardBuckets);
const slotOctets = textOctets + problemOctets + valueCount * BigInt64Array.BYTES_PER_ELEMENT;

export interface UpstreamReading {
  readonly upstream: string;
  readonly requests: number;
  /** By the rcode's name, `OTHER`, or `none` where no answer came. */
  readonly responses: Readonly<Record<string, number>>;
  readonly durations: HistogramReading;
  readonly probeFailures: number;
  /** Connections opened for a query, and queries that found one open. */
  readonly connections: { readonly opened: number; readonly reused: number };
  /** Why it is asked last for now; absent: it answers. */
  readonly problem?: string;
}

/** One upstream's counters. */
export interface UpstreamCounts {
  countRequest(): void;
  countAnswer(rcode: number, elapsedMs: number): void;
  countFailure(elapsedMs: number): void;
  countProbeFailure(): void;
  countConnection(isReused: boolean): void;
  setUp(isUp: boolean, problem?: string): void;
}

export class SharedUpstreamStats {
  readonly buffer: SharedArrayBuffer;

  constructor(buffer = new SharedArrayBuffer(slotCount * slotOctets)) {
    this.buffer = buffer;
  }

  /** The last of the slots is shared by all that come after the others: the metrics have a bound. */
  of(upstream: string): UpstreamCounts {
    for (let at = 0; at < slotCount; at++) {
      const slot = new Slot(this.buffer, at);
      if (slot.text === "") slot.text = at === slotCount - 1 ? "others" : upstream;
      if (slot.text === upstream || at === slotCount - 1) return slot;
    }
    throw new RangeError("there is a last slot");
  }

  read(): readonly UpstreamReading[] {
    return Array.from({ length: slotCount }, (_, at) => new Slot(this.buffer, at))
      .filter(({ text }) => text !== "")
      .map((slot) => slot.read());
  }
}

class Slot implements UpstreamCounts {
  readonly #text: Uint8Array;
  readonly #problem: Uint8Array;
  readonly #values: BigInt64Array;
  readonly #durations: Histogram;

  constructor(buffer: SharedArrayBuffer, at: number) {
    const start = at * slotOctets;
    this.#text = new Uint8Array(buffer, start, textOctets);
    this.#problem = new Uint8Array(buffer, start + textOctets, problemOctets);
    this.#values = new BigInt64Array(buffer, start + textOctets + problemOctets, valueCount);
    const histogramAt = counts.length + outcomes.length;
    this.#durations = new Histogram(forwardBuckets, this.#values.subarray(histogramAt));
  }

  get text(): string {
    return readText(this.#text);
  }

  set text(text: string) {
    writeText(this.#text, text);
  }

  countRequest(): void {
    this.#add("requests");
  }

  countAnswer(rcode: number, elapsedMs: number): void {
    this.#addOutcome(rcodeNames[rcode] ?? "OTHER");
    this.#durations.observe(elapsedMs / 1000);
  }

  countFailure(elapsedMs: number): void {
    this.#addOutcome("none");
    this.#durations.observe(elapsedMs / 1000);
  }

  countProbeFailure(): void {
    this.#add("probeFailures");
  }

  countConnection(isReused: boolean): void {
    this.#add(isReused ? "reused" : "opened");
  }

  setUp(isUp: boolean, problem = ""): void {
    writeText(this.#problem, problem);
    Atomics.store(this.#values, counts.indexOf("isDown"), isUp ? 0n : 1n);
  }

  read(): UpstreamReading {
    const value = (name: Count): number => this.#read(counts.indexOf(name));
    return {
      upstream: this.text,
      requests: value("requests"),
      responses: Object.fromEntries(
        outcomes.map((name, at) => [name, this.#read(counts.length + at)]),
      ),
      durations: this.#durations.read(),
      probeFailures: value("probeFailures"),
      connections: { opened: value("opened"), reused: value("reused") },
      ...(value("isDown") === 1 && { problem: readText(this.#problem) }),
    };
  }

  #read(at: number): number {
    return Number(Atomics.load(this.#values, at));
  }

  #add(name: Count): void {
    Atomics.add(this.#values, counts.indexOf(name), 1n);
  }

  #addOutcome(name: string): void {
    Atomics.add(this.#values, counts.length + outcomes.indexOf(name), 1n);
  }
}

// A decoder takes no shared memory, so a copy of it.
const readText = (octets: Uint8Array): string =>
  Buffer.from(octets.slice()).toString("utf8").replace(/\0.*$/s, "");

function writeText(octets: Uint8Array, text: string): void {
  const encoded = Buffer.from(text).subarray(0, octets.length);
  octets.set(encoded);
  octets.fill(0, encoded.length);
}
