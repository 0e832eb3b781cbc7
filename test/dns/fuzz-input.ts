// Messages that nobody should send: ordinary ones with something wrong in them.
import type { Random } from "../../core/clock.ts";
import { cases } from "./fixture.ts";
import { queryOctets } from "./wire-client.ts";

const types = ["A", "AAAA", "SRV", "PTR", "TXT", "NS", "SOA", "ANY", "CNAME", "HTTPS", "AXFR"];

/** An ordinary query, for names that are there and names that are not. */
export function aQuery(random: Random): Buffer {
  const pick = <T>(list: readonly T[]): T => list[random.below(list.length)]!;
  const edns = { udpSize: pick([0, 512, 1232, 65_535]), version: pick([0, 0, 0, 1]) };
  return queryOctets(pick(cases.data).name, pick(types), {
    id: random.below(0x1_0000),
    recursionDesired: random.below(8) > 0,
    ...(random.below(2) === 0 && { edns }),
  });
}

type Mutation = (octets: Buffer, random: Random) => Buffer;

const octetsOf = (random: Random, count: number): Buffer =>
  Buffer.from(Array.from({ length: count }, () => random.below(256)));

/** `count` labels of `length` octets, without an end. */
const labels = (count: number, length: number): Buffer =>
  Buffer.concat(Array.from({ length: count }, () => Buffer.alloc(1 + length, length)));

const withQuestion = (octets: Buffer, name: Buffer): Buffer =>
  Buffer.concat([octets.subarray(0, 12), name, Buffer.from([0, 1, 0, 1])]);

const pointerTo = (at: number): Buffer => Buffer.from([0xc0 | (at >> 8), at & 0xff]);

export const mutations: Readonly<Record<string, Mutation>> = {
  none: (octets) => octets,
  octets: (octets, random) => {
    const changed = Buffer.from(octets);
    for (let n = 0; n <= random.below(4); n++) {
      changed[random.below(changed.length)] = random.below(256);
    }
    return changed;
  },
  cut: (octets, random) => octets.subarray(0, random.below(octets.length + 1)),
  more: (octets, random) => Buffer.concat([octets, octetsOf(random, 1 + random.below(100))]),
  counts: (octets, random) => {
    const changed = Buffer.from(octets);
    for (const at of [4, 6, 8, 10]) {
      if (random.below(2) === 0)
        changed.writeUInt16BE([0, 1, 2, 255, 65_535][random.below(5)]!, at);
    }
    return changed;
  },
  /** To itself, to before, to behind, out of the message. */
  pointer: (octets, random) => {
    const front = random.below(2) === 0 ? Buffer.alloc(0) : Buffer.from("\x03www");
    const to = [12, 12 + front.length, 0, 14, octets.length, 0x3fff][random.below(6)]!;
    return withQuestion(octets, Buffer.concat([front, pointerTo(to)]));
  },
  /** Two that lead to each other. */
  loop: (octets) => withQuestion(octets, Buffer.concat([pointerTo(14), pointerTo(12)])),
  /** A label that is longer than it says, or than the message. */
  lying: (octets, random) => {
    const changed = Buffer.from(octets);
    changed[12] = [0, 1, 62, 63, 64, 127, 128, 191, 192, 255][random.below(10)]!;
    return changed;
  },
  long: (octets, random) => {
    const length = 1 + random.below(63);
    const count = 1 + random.below(Math.floor(300 / (length + 1)) + 3);
    const end = random.below(3) === 0 ? Buffer.alloc(0) : Buffer.from([0]);
    return withQuestion(octets, Buffer.concat([labels(count, length), end]));
  },
  /** Near the largest datagram. */
  huge: (octets, random) => withQuestion(octets, labels(1000, 1 + random.below(60))),
  /** Options that are longer than their record, or the other way round; several OPT. */
  opt: (octets, random) => {
    const changed = Buffer.from(octets);
    changed.writeUInt16BE(1 + random.below(3), 10);
    const length = random.below(40);
    const opt = Buffer.from([0, 0, 41, 4, 208, 0, random.below(2), 0x80, 0, 0, random.below(40)]);
    return Buffer.concat([changed, opt, octetsOf(random, length)]);
  },
  answer: (octets) => {
    const changed = Buffer.from(octets);
    changed[2] = changed[2]! | 0x80;
    return changed;
  },
  opcode: (octets, random) => {
    const changed = Buffer.from(octets);
    changed[2] = (changed[2]! & 0x87) | (random.below(16) << 3);
    return changed;
  },
  noise: (_, random) => octetsOf(random, random.below(600)),
};

const kinds = Object.keys(mutations);

export interface Mutated {
  readonly kind: string;
  readonly octets: Buffer;
}

export function aMutated(random: Random): Mutated {
  const kind = kinds[random.below(kinds.length)]!;
  const once = mutations[kind]!(aQuery(random), random);
  // Sometimes on top of each other.
  const second = kinds[random.below(kinds.length)]!;
  const isTwice = random.below(4) === 0 && once.length > 12 && once.length < 1000;
  return isTwice
    ? { kind: `${kind}+${second}`, octets: mutations[second]!(once, random) }
    : { kind, octets: once };
}
