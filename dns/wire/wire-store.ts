import { hashKey, hashOctet } from "../message/wire-hash.ts";
import { kept } from "./wire-answer.ts";
import type { WireQuestion } from "./wire-question.ts";

/** Places that a hash leads to: so many answers can meet before one of them has to leave. */
const ways = 8;
/** Of a place: the hash, the mark, where in the ring the answer is, in granules ever written, and for whom. */
const place = { words: 4, hash: 0, mark: 1, position: 2, path: 3 } as const;
const everybody = 0;
/** An answer in the ring begins at a multiple of this, with its two times as 64-bit numbers. */
const granule = 16;
/** Positions are kept in 32 bits: before they come round, all is forgotten, each 16 GiB. */
const mostWritten = 2 ** 30;

export interface StoreSize {
  /** Of all kept answers together: a multiple of 16. */
  readonly octets: number;
  /** How many there can be: a power of two. */
  readonly answers: number;
}

export interface StoredAnswer {
  /** As {@link keptAnswer} makes it. */
  readonly octets: Uint8Array;
  /** What it rests on had this mark; see ServiceMarks. */
  readonly mark: number;
  /** Only for who has this search list; see SearchingClient. Absent: for everybody. */
  readonly path?: number;
  /** Milliseconds of the monotonic clock: not given after `untilMs`, its TTL ends at `endMs`. */
  readonly untilMs: number;
  readonly endMs: number;
}

/**
 * Answers in wire form, found without a single allocation. Their octets lie in a ring: what was written
 * longest ago leaves first, and what is asked for comes back. All memory is claimed at once, but the
 * kernel only gives what is written to. What belongs together lies together: with many answers it is
 * the number of cache lines that counts.
 */
export class WireStore {
  readonly octets: Uint8Array;
  /** The same memory. */
  readonly #times: Float64Array;
  readonly #seed: number;
  readonly #buckets: number;
  readonly #places: Int32Array;
  readonly #granules: number;
  /** Granules, from 1: a position of 0 is nowhere. */
  #written: number;
  #isEmpty = true;

  constructor(seed: number, { octets, answers }: StoreSize) {
    const memory = new ArrayBuffer(octets);
    this.octets = new Uint8Array(memory);
    this.#times = new Float64Array(memory);
    this.#seed = seed;
    this.#buckets = answers / ways;
    this.#places = new Int32Array(answers * place.words);
    this.#granules = octets / granule;
    this.#written = this.#granules + 1;
  }

  /** The place of the answer, for who has this search list or for everybody, or -1. */
  find(question: WireQuestion, path = everybody): number {
    const hash = hashFor(question.hash, path);
    const places = this.#places;
    const first = (hash & (this.#buckets - 1)) * ways * place.words;
    const least = this.#written - this.#granules;
    for (let at = first; at < first + ways * place.words; at += place.words) {
      if (places[at] !== hash || places[at + place.path] !== path) continue;
      if ((places[at + place.position] ?? 0) >= least && this.#isFor(question, this.at(at))) {
        return at;
      }
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
  at(at: number): number {
    const position = this.#places[at + place.position] ?? 0;
    return (position % this.#granules) * granule + granule;
  }

  /** Where the name is, of the answer whose octets are at `at`. */
  nameAt(at: number): number {
    return at + kept.octets + 2 * (this.octets[at + kept.ttls] ?? 0);
  }

  rcode(at: number): number {
    return (this.octets[this.at(at) + kept.flags + 1] ?? 0) & 0x0f;
  }

  mark(at: number): number {
    return this.#places[at + place.mark] ?? 0;
  }

  untilMs(at: number): number {
    return this.#times[this.at(at) / 8 - 2] ?? 0;
  }

  endMs(at: number): number {
    return this.#times[this.at(at) / 8 - 1] ?? 0;
  }

  /** Keeps the answer, in place of an older one to the same question. */
  put({ octets, mark, path = everybody, untilMs, endMs }: StoredAnswer): void {
    const needed = 1 + Math.ceil(octets.length / granule);
    if (needed > this.#granules) return;
    if (this.#written + this.#granules > mostWritten) this.#startAgain();
    const hash = hashFor(this.#hashOf(octets), path);
    const at = this.#placeFor(hash);
    const position = this.#claim(needed);
    this.#isEmpty = false;
    this.#places[at + place.hash] = hash;
    this.#places[at + place.mark] = mark;
    this.#places[at + place.position] = position;
    this.#places[at + place.path] = path;
    const start = this.at(at);
    this.#times[start / 8 - 2] = untilMs;
    this.#times[start / 8 - 1] = endMs;
    this.octets.set(octets, start);
  }

  clear(): void {
    // Where nothing was put, the kernel need not give memory to write nothing to.
    if (!this.#isEmpty) this.#places.fill(0);
    this.#isEmpty = true;
  }

  #startAgain(): void {
    this.clear();
    this.#written = this.#granules + 1;
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
    const places = this.#places;
    const first = (hash & (this.#buckets - 1)) * ways * place.words;
    let oldest = first;
    for (let at = first; at < first + ways * place.words; at += place.words) {
      if (places[at] === hash) return at;
      const [position = 0, least = 0] = [
        places[at + place.position],
        places[oldest + place.position],
      ];
      if (position < least) oldest = at;
    }
    return oldest;
  }

  // Never around the end of the ring: what is left there stays empty.
  #claim(needed: number): number {
    const left = this.#granules - (this.#written % this.#granules);
    if (needed > left) this.#written += left;
    const position = this.#written;
    this.#written += needed;
    return position;
  }
}

// Of one question, the answers for several search lists lie apart.
const hashFor = (hash: number, path: number): number => hash ^ Math.imul(path, 0x9e37_79b1);
