import {
  headerOctets,
  maxUdpOctets,
  minUdpOctets,
  RecordClass,
  RecordType,
} from "../message/message.ts";
import { maxLabelOctets, maxNameOctets } from "../message/name.ts";
import { foldedOctet, hashKey, hashOctet } from "../message/wire-hash.ts";

/** How a question is asked, as far as it changes the answer. */
export const Variant = { plain: 0, edns: 1, dnssecOk: 2 } as const;

/** OPT without options: RFC 6891 section 6.1.2. */
const optOctets = 11;

/**
 * The question of a message, read where it lies and into the same object each time: a thread that does
 * nothing else makes no garbage. It knows ordinary queries only, as stub resolvers send them: one
 * question of class IN, RD set, no other flag but AD, EDNS without options or none. That is no judgement
 * of the others: the responder has it.
 */
export class WireQuestion {
  /** Octets from the start of the message to behind the question. */
  end = 0;
  type = 0;
  variant: number = Variant.plain;
  /** Octets that the client takes. */
  limit = minUdpOctets;
  /** Of name, type and variant. */
  hash = 0;
  /** In lower case, in wire form. */
  readonly name: Uint8Array = new Uint8Array(maxNameOctets + 1);
  nameLength = 0;
  /** How many labels stand before the root. */
  labels = 0;
  /** Where in {@link name} each starts. */
  readonly labelAt: Uint8Array = new Uint8Array(128);
  readonly #seed: number;

  constructor(seed: number) {
    this.#seed = seed;
  }

  /** Whether the `length` octets at `at` are an ordinary query. Nothing else is valid if not. */
  read(memory: Uint8Array, at: number, length: number): boolean {
    // Id and flags, then counts: 1, 0, 0, and the additional records'.
    if (length < headerOctets + 5 || memory[at + 2] !== 0x01) return false;
    if (((memory[at + 3] ?? 0) & ~0x20) !== 0) return false;
    if (memory[at + 4] !== 0 || memory[at + 5] !== 1) return false;
    for (let i = at + 6; i < at + 11; i++) if (memory[i] !== 0) return false;
    const nameHash = this.#readName(memory, at + headerOctets, at + length - 4);
    if (this.nameLength === 0) return false;
    const behind = at + headerOctets + this.nameLength;
    const isIn = memory[behind + 2] === 0 && memory[behind + 3] === RecordClass.IN;
    this.type = ((memory[behind] ?? 0) << 8) | (memory[behind + 1] ?? 0);
    if (!isIn || !isOrdinary(this.type)) return false;
    this.end = headerOctets + this.nameLength + 4;
    if (!this.#readEdns(memory, at, length)) return false;
    this.hash = hashKey(nameHash, this.type, this.variant);
    return true;
  }

  // The unfinished hash of the name; its length is 0 when it is none, or does not end before `end`.
  #readName(memory: Uint8Array, start: number, end: number): number {
    const { name, labelAt } = this;
    let hash = this.#seed;
    let labels = 0;
    this.nameLength = 0;
    for (let at = start; ;) {
      const length = memory[at] ?? 0;
      const next = at + 1 + length;
      if (length > maxLabelOctets || next > end || next - start > maxNameOctets) return 0;
      hash = hashOctet(hash, length);
      name[at - start] = length;
      if (length === 0) {
        this.labels = labels;
        this.nameLength = next - start;
        return hash;
      }
      labelAt[labels++] = at - start;
      for (at++; at < next; at++) {
        const octet = foldedOctet[memory[at] ?? 0] ?? 0;
        name[at - start] = octet;
        hash = hashOctet(hash, octet);
      }
    }
  }

  #readEdns(memory: Uint8Array, start: number, length: number): boolean {
    const at = start + this.end;
    this.variant = Variant.plain;
    this.limit = minUdpOctets;
    if (memory[start + 11] === 0) return length === this.end;
    if (memory[start + 11] !== 1 || length !== this.end + optOctets) return false;
    if (memory[at] !== 0 || memory[at + 1] !== 0 || memory[at + 2] !== RecordType.OPT) return false;
    // Version, and the length of the options.
    if (memory[at + 6] !== 0 || memory[at + 9] !== 0 || memory[at + 10] !== 0) return false;
    const size = ((memory[at + 3] ?? 0) << 8) | (memory[at + 4] ?? 0);
    this.limit = Math.min(maxUdpOctets, Math.max(minUdpOctets, size));
    this.variant = ((memory[at + 7] ?? 0) & 0x80) !== 0 ? Variant.dnssecOk : Variant.edns;
    return true;
  }
}

// What asks for a record, not for a transfer, a signature of the message, or everything.
const isOrdinary = (type: number): boolean =>
  type !== 0 && type !== RecordType.OPT && (type < RecordType.TKEY || type > RecordType.ANY);
