// How fast and how large the answers are, in memory that the resolver's threads share.
import { Histogram, type HistogramReading, type Tally } from "./histogram.ts";

/**
 * Seconds. CoreDNS's begin at 0.25 ms, under which nearly all answers of a node's own resolver are: below it
 * there are finer ones.
 */
export const durationBuckets: readonly number[] = [
  0.000_01,
  0.000_025,
  0.000_05,
  0.000_1,
  ...Array.from({ length: 16 }, (_, n) => 0.000_25 * 2 ** n),
];

/** Octets: CoreDNS's. */
export const sizeBuckets: readonly number[] = [
  0, 100, 200, 300, 400, 511, 1023, 2047, 4095, 8291, 16_000, 32_000, 48_000, 64_000,
];

const transports = ["udp", "tcp"] as const;
export type Transport = (typeof transports)[number];

const ofTransport = Histogram.length(durationBuckets) + Histogram.length(sizeBuckets);

export interface TrafficReading {
  /** From the query's arrival to its answer, seconds. */
  readonly durations: HistogramReading;
  /** Of answers, octets. */
  readonly sizes: HistogramReading;
}

export class SharedTraffic {
  readonly buffer: SharedArrayBuffer;
  readonly #durations: Readonly<Record<Transport, Histogram>>;
  readonly #sizes: Readonly<Record<Transport, Histogram>>;

  constructor(
    buffer = new SharedArrayBuffer(
      transports.length * ofTransport * BigInt64Array.BYTES_PER_ELEMENT,
    ),
  ) {
    this.buffer = buffer;
    const values = new BigInt64Array(buffer);
    const durations = (at: number): Histogram =>
      new Histogram(durationBuckets, values.subarray(at * ofTransport));
    const sizes = (at: number): Histogram =>
      new Histogram(
        sizeBuckets,
        values.subarray(at * ofTransport + Histogram.length(durationBuckets)),
      );
    this.#durations = { udp: durations(0), tcp: durations(1) };
    this.#sizes = { udp: sizes(0), tcp: sizes(1) };
  }

  /** An answer that leaves. */
  count(transport: Transport, elapsedMs: number, octets: number): void {
    this.#durations[transport].observe(elapsedMs / 1000);
    this.#sizes[transport].observe(octets);
  }

  /** Many of them: seconds, and octets. */
  add(transport: Transport, durations: Tally, sizes: Tally): void {
    this.#durations[transport].add(durations);
    this.#sizes[transport].add(sizes);
  }

  read(): Readonly<Record<Transport, TrafficReading>> {
    const of = (transport: Transport): TrafficReading => ({
      durations: this.#durations[transport].read(),
      sizes: this.#sizes[transport].read(),
    });
    return { udp: of("udp"), tcp: of("tcp") };
  }
}
