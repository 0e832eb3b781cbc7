// An answer in wire form, ready to be given to whoever asks the same: pure, octets to octets.
import { headerOctets, RecordType } from "../message/message.ts";
import { foldedOctet } from "../message/wire-hash.ts";

/**
 * What stands in front of an answer's kept octets, one octet each, two or four where it says so:
 * name length, type (2), variant, flags (2), answer, authority and additional counts (2 each), octets
 * behind the question (2), records that may be turned, octets of one of them, where the zone's serial
 * stands (2, 0: nowhere), how many TTLs, where the records start that may be turned (2), where the name's
 * first labels are repeated (2) and how many octets of them, the hash of the service that it rests on (4).
 * Then the places of the TTLs (2 each), the name, the octets.
 */
export const kept = {
  nameLength: 0,
  type: 1,
  variant: 3,
  flags: 4,
  counts: 6,
  tailLength: 12,
  turns: 14,
  recordOctets: 15,
  serialAt: 16,
  ttls: 18,
  turnsAt: 19,
  spelledAt: 21,
  spelled: 23,
  service: 24,
  octets: 28,
} as const;

export interface AnswerParts {
  /** The responder's answer to an ordinary query. */
  readonly octets: Uint8Array;
  readonly variant: number;
  /** Sets of addresses start anywhere: they may be turned. */
  readonly mayTurn: boolean;
  /** The TTLs run down. */
  readonly ages: boolean;
  /**
   * An alias stands in front, with a TTL of its own, to a name that begins with so many octets of the one
   * asked, in the asker's spelling. 0: none.
   */
  readonly aliasFront?: number;
  /** The hash of the service that it rests on. */
  readonly service?: number;
}

/** Undefined for an answer that this form cannot hold. */
export function keptAnswer({
  octets,
  variant,
  mayTurn,
  ages,
  aliasFront = 0,
  service = 0,
}: AnswerParts): Uint8Array | undefined {
  const layout = layoutOf(octets);
  if (layout === undefined) return undefined;
  const { questionEnd, records } = layout;
  const aliases = aliasFront > 0 ? 1 : 0;
  const found = records.slice(aliases);
  const answers = found.slice(0, u16(octets, 6) - aliases);
  const isSet = mayTurn && answers.length > 1;
  const turning = isSet ? turningRecords(octets, answers) : undefined;
  if (isSet && turning === undefined) return undefined;
  const aged = ages ? found.filter(({ type }) => type !== RecordType.OPT) : [];
  const soa = ages ? undefined : records.find(({ type }) => type === RecordType.SOA);
  const name = octets
    .subarray(headerOctets, questionEnd - 4)
    .map((octet) => foldedOctet[octet] ?? 0);
  const tail = octets.subarray(questionEnd);
  if (aged.length > 255 || tail.length > 0xffff) return undefined;
  const result = Buffer.alloc(kept.octets + 2 * aged.length + name.length + tail.length);
  result.set([name.length, ...octets.subarray(questionEnd - 4, questionEnd - 2), variant]);
  result.set(octets.subarray(2, 4), kept.flags);
  result.set(octets.subarray(6, 12), kept.counts);
  result.writeUInt16BE(tail.length, kept.tailLength);
  result.set([turning?.count ?? 0, turning?.octets ?? 0], kept.turns);
  // The serial is the first of five numbers that end the SOA.
  result.writeUInt16BE(soa === undefined ? 0 : soa.end - 20 - questionEnd, kept.serialAt);
  result[kept.ttls] = aged.length;
  result.writeUInt16BE(turning === undefined ? 0 : turning.start - questionEnd, kept.turnsAt);
  if (aliases > 0) {
    const target = (records[0]?.ttlAt ?? 0) + 6;
    result.writeUInt16BE(target - questionEnd, kept.spelledAt);
    result[kept.spelled] = Math.min(aliasFront, labelsEnd(octets, target) - target);
  }
  result.writeInt32BE(service, kept.service);
  aged.forEach(({ ttlAt }, i) => result.writeUInt16BE(ttlAt - questionEnd, kept.octets + 2 * i));
  result.set(name, kept.octets + 2 * aged.length);
  result.set(tail, kept.octets + 2 * aged.length + name.length);
  return result;
}

export interface RecordPlace {
  readonly type: number;
  readonly start: number;
  readonly ttlAt: number;
  readonly end: number;
}

export interface MessageLayout {
  readonly questionEnd: number;
  readonly records: readonly RecordPlace[];
}

/** Where what stands in a message that the encoder wrote; undefined without exactly one question. */
export function layoutOf(octets: Uint8Array): MessageLayout | undefined {
  if (octets.length < headerOctets || u16(octets, 4) !== 1) return undefined;
  const questionEnd = nameEnd(octets, headerOctets) + 4;
  const count = u16(octets, 6) + u16(octets, 8) + u16(octets, 10);
  const records: RecordPlace[] = [];
  for (let i = 0, start = questionEnd; i < count; i++) {
    const at = nameEnd(octets, start);
    const end = at + 10 + u16(octets, at + 8);
    if (end > octets.length) return undefined;
    records.push({ type: u16(octets, at), start, ttlAt: at + 4, end });
    start = end;
  }
  return { questionEnd, records };
}

// Addresses of one family at one name: records of one size, which point to nothing but the name.
function turningRecords(
  octets: Uint8Array,
  answers: readonly RecordPlace[],
): { readonly count: number; readonly octets: number; readonly start: number } | undefined {
  const [first] = answers;
  if (first === undefined || answers.length > 255) return undefined;
  const size = first.end - first.start;
  const owner = u16(octets, first.start);
  const isTurning = answers.every(
    ({ type, start, end }) =>
      (type === RecordType.A || type === RecordType.AAAA) &&
      type === first.type &&
      end - start === size &&
      u16(octets, start) === owner,
  );
  return owner >= 0xc000 && isTurning
    ? { count: answers.length, octets: size, start: first.start }
    : undefined;
}

/** Behind a name: its labels, up to the root or to a pointer. */
export function nameEnd(octets: Uint8Array, start: number): number {
  const end = labelsEnd(octets, start);
  return (octets[end] ?? 0) === 0 ? end + 1 : end + 2;
}

// Where the root, or a pointer, is.
function labelsEnd(octets: Uint8Array, start: number): number {
  let at = start;
  for (let length = octets[at] ?? 0; length !== 0; length = octets[at] ?? 0) {
    if (length >= 0xc0) return at;
    at += 1 + length;
  }
  return at;
}

const u16 = (octets: Uint8Array, at: number): number =>
  ((octets[at] ?? 0) << 8) | (octets[at + 1] ?? 0);
