import { kept } from "./wire-answer.ts";
import { hashKey, hashOctet } from "./wire-hash.ts";
import type { WireQuestion } from "./wire-question.ts";

/** Places that a hash leads to: so many answers can meet before one of them has to leave. */
const ways = 8;

export interface StoreSize {
  /** Of all kept answers together. A power of two is not needed. */
  readonly octets: number;
  /** How many there can be: a power of two. */
  readonly answers: number;
}

export interface StoredAnswer {
  /** As {@link keptAnswer} makes it. */
  readonly octets: Uint8Array;
  /** What it rests on had this mark; see ServiceMarks. */
  readonly mark: number;
  /** Milliseconds of the monotonic clock: not given after `untilMs`, its TTL ends at `endMs`. */
  readonly untilMs: number;
  readonly endMs: number;
}

/**
 * Answers in wire form, found without a single allocation. Their octets lie in a ring: what was written
 * longest ago leaves first, and what is asked for comes back. All memory is claimed at once, but the
 * kernel only gives what is written to.
 */
export class WireStore {
  readonly octets: Uint8Array;
  readonly #seed: number;
  readonly #buckets: number;
  readonly #hashes: Int32Array;
  /** In octets ever written. Below the least that is still in the ring: nothing is here. */
  readonly #positions: Float64Array;
  /** The same, in octets from the ring's start. */
  readonly #offsets: Int32Array;
  readonly #marks: Int32Array;
  readonly #untilMs: Float64Array;
  readonly #endMs: Float64Array;
  #written: number;

  constructor(seed: number, { octets, answers }: StoreSize) {
    this.octets = new Uint8Array(octets);
    this.#seed = seed;
    this.#buckets = answers / ways;
    this.#hashes = new Int32Array(answers);
    this.#positions = new Float64Array(answers);
    this.#offsets = new Int32Array(answers);
    this.#marks = new Int32Array(answers);
    this.#untilMs = new Float64Array(answers);
    this.#endMs = new Float64Array(answers);
    // Positions of 0, as the places have them at first, are out of the ring.
    this.#written = octets + 1;
  }

  /** The place of the answer, or -1. */
  find(question: WireQuestion): number {
    const { hash } = question;
    const first = (hash & (this.#buckets - 1)) * ways;
    const least = this.#written - this.octets.length;
    for (let place = first; place < first + ways; place++) {
      if (this.#hashes[place] !== hash) continue;
      if ((this.#positions[place] ?? 0) >= least && this.#isFor(question, this.at(place)))
        return place;
    }
    return -1;
  }

  #isFor(question: WireQuestion, at: number): boolean {
    const { octets } = this;
    if (octets[at] !== question.nameLength || octets[at + kept.variant] !== question.variant) {
      return false;
    }
    const type = ((octets[at + kept.type] ?? 0) << 8) | (octets[at + kept.type + 1] ?? 0);
    if (type !== question.type) return false;
    const nameAt = this.nameAt(at);
    const { name, nameLength } = question;
    for (let i = 0; i < nameLength; i++) if (octets[nameAt + i] !== name[i]) return false;
    return true;
  }

  /** Where in {@link octets} the answer at this place is. */
  at(place: number): number {
    return this.#offsets[place] ?? 0;
  }

  /** Where the name is, of the answer whose octets are at `at`. */
  nameAt(at: number): number {
    return at + kept.octets + 2 * (this.octets[at + kept.ttls] ?? 0);
  }

  rcode(place: number): number {
    return (this.octets[this.at(place) + kept.flags + 1] ?? 0) & 0x0f;
  }

  mark(place: number): number {
    return this.#marks[place] ?? 0;
  }

  untilMs(place: number): number {
    return this.#untilMs[place] ?? 0;
  }

  endMs(place: number): number {
    return this.#endMs[place] ?? 0;
  }

  /** Keeps the answer, in place of an older one to the same question. */
  put({ octets, mark, untilMs, endMs }: StoredAnswer): void {
    if (octets.length > this.octets.length) return;
    const hash = this.#hashOf(octets);
    const place = this.#placeFor(hash);
    this.#hashes[place] = hash;
    const position = this.#write(octets);
    this.#positions[place] = position;
    this.#offsets[place] = position % this.octets.length;
    this.#marks[place] = mark;
    this.#untilMs[place] = untilMs;
    this.#endMs[place] = endMs;
  }

  clear(): void {
    this.#positions.fill(0);
  }

  #hashOf(octets: Uint8Array): number {
    const start = kept.octets + 2 * (octets[kept.ttls] ?? 0);
    let hash = this.#seed;
    for (let i = 0; i < (octets[kept.nameLength] ?? 0); i++) {
      hash = hashOctet(hash, octets[start + i] ?? 0);
    }
    const type = ((octets[kept.type] ?? 0) << 8) | (octets[kept.type + 1] ?? 0);
    return hashKey(hash, type, octets[kept.variant] ?? 0);
  }

  // That of the same question, or of another that meets it in all 32 bits; else the oldest.
  #placeFor(hash: number): number {
    const first = (hash & (this.#buckets - 1)) * ways;
    let oldest = first;
    for (let place = first; place < first + ways; place++) {
      if (this.#hashes[place] === hash) return place;
      if ((this.#positions[place] ?? 0) < (this.#positions[oldest] ?? 0)) oldest = place;
    }
    return oldest;
  }

  // Never around the end of the ring: what is left there stays empty.
  #write(octets: Uint8Array): number {
    const size = this.octets.length;
    const left = size - (this.#written % size);
    if (octets.length > left) this.#written += left;
    const position = this.#written;
    this.octets.set(octets, position % size);
    this.#written += octets.length;
    return position;
  }
}
