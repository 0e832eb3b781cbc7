import { ipToBytes } from "../../core/address.ts";
import { assertNever } from "../../core/assert.ts";
import {
  type Edns,
  headerOctets,
  type Message,
  maxMessageOctets,
  maxUdpOctets,
  type RecordData,
  RecordType,
  type ResourceRecord,
} from "./message.ts";
import { foldName, type Name } from "./name.ts";

// Room that hardly any message outgrows, TCP's neither: 64 KiB for each would cost 25 µs.
const usualOctets = maxUdpOctets;
// A pointer has 14 bits.
const maxPointerTarget = 0x3fff;

/** The octets of a message. Throws RangeError above 65,535. */
export function encodeMessage(message: Message): Uint8Array {
  const octets = tryEncode(message, maxMessageOctets);
  if (octets === undefined) throw new RangeError("Cannot encode message: over 65535 octets");
  return octets;
}

/**
 * The octets of a message, cut down to `maxOctets`: first by the additional section, without a word;
 * then with TC set to as many answers as fit. A client ignores those and asks again over TCP (RFC 2181
 * section 9), but musl before 1.2.4 cannot, and makes do with them.
 */
export function encodeWithin(message: Message, maxOctets: number): Uint8Array {
  const whole = tryEncode(message, maxOctets);
  if (whole !== undefined) return whole;
  const bare = { ...message, additionals: [] };
  return tryEncode(bare, maxOctets) ?? encodeTruncated(bare, maxOctets);
}

function encodeTruncated(message: Message, maxOctets: number): Uint8Array {
  const { answers } = message;
  const bare = { ...message, truncated: true, answers: [], authorities: [] };
  let best = encodeMessage(bare);
  // Fewer answers never take more room: halve the range.
  for (let [low, high] = [1, answers.length]; low <= high;) {
    const count = (low + high) >> 1;
    const fitting = tryEncode({ ...bare, answers: answers.slice(0, count) }, maxOctets);
    if (fitting === undefined) high = count - 1;
    else [best, low] = [fitting, count + 1];
  }
  return best;
}

/** Undefined when the message is longer than `maxOctets`. */
function tryEncode(message: Message, maxOctets: number): Uint8Array | undefined {
  if (maxOctets <= usualOctets) return tryEncodeInto(message, maxOctets);
  return tryEncodeInto(message, usualOctets) ?? tryEncodeInto(message, maxOctets);
}

function tryEncodeInto(message: Message, maxOctets: number): Uint8Array | undefined {
  const writer = new Writer(maxOctets);
  try {
    writeMessage(writer, message);
  } catch (thrown) {
    if (thrown instanceof Overflow) return undefined;
    throw thrown;
  }
  return writer.done();
}

function writeMessage(writer: Writer, message: Message): void {
  const { edns } = message;
  writer.u16(message.id);
  writer.u16(flagsOf(message));
  writer.u16(message.questions.length);
  writer.u16(message.answers.length);
  writer.u16(message.authorities.length);
  writer.u16(message.additionals.length + (edns === undefined ? 0 : 1));
  for (const question of message.questions) {
    writer.questionName(question.name);
    writer.u16(question.type);
    writer.u16(question.class);
  }
  for (const record of message.answers) writeRecord(writer, record);
  for (const record of message.authorities) writeRecord(writer, record);
  for (const record of message.additionals) writeRecord(writer, record);
  if (edns !== undefined) writeEdns(writer, edns, message.rcode >> 4);
  else if (message.rcode > 15) throw new RangeError(`Rcode ${message.rcode} needs EDNS`);
}

const flagsOf = (message: Message): number =>
  (message.isResponse ? 0x8000 : 0) |
  (message.opcode << 11) |
  (message.authoritative ? 0x0400 : 0) |
  (message.truncated ? 0x0200 : 0) |
  (message.recursionDesired ? 0x0100 : 0) |
  (message.recursionAvailable ? 0x0080 : 0) |
  (message.authenticData ? 0x0020 : 0) |
  (message.checkingDisabled ? 0x0010 : 0) |
  (message.rcode & 0x0f);

function writeRecord(writer: Writer, record: ResourceRecord): void {
  writer.name(record.name);
  writer.u16(record.type);
  writer.u16(record.class);
  writer.u32(record.ttl);
  const lengthAt = writer.at;
  writer.u16(0);
  writeData(writer, record.data);
  writer.patchU16(lengthAt, writer.at - lengthAt - 2);
}

function writeEdns(writer: Writer, edns: Edns, extendedRcode: number): void {
  writer.u8(0);
  writer.u16(RecordType.OPT);
  writer.u16(edns.udpSize);
  writer.u8(extendedRcode);
  writer.u8(edns.version);
  writer.u16(edns.dnssecOk ? 0x8000 : 0);
  const lengthAt = writer.at;
  writer.u16(0);
  for (const option of edns.options) {
    writer.u16(option.code);
    writer.u16(option.octets.length);
    writer.octets(option.octets);
  }
  writer.patchU16(lengthAt, writer.at - lengthAt - 2);
}

function writeData(writer: Writer, data: RecordData): void {
  switch (data.kind) {
    case "address":
      return writer.octets(ipToBytes(data.address));
    case "name":
      return writer.name(data.name);
    case "soa":
      writer.name(data.primary);
      writer.name(data.mailbox);
      writer.u32(data.serial);
      writer.u32(data.refresh);
      writer.u32(data.retry);
      writer.u32(data.expire);
      return writer.u32(data.minimum);
    case "srv":
      writer.u16(data.priority);
      writer.u16(data.weight);
      writer.u16(data.port);
      // RFC 2782: the target is never compressed.
      return writer.latin1(data.target);
    case "txt":
      for (const string of data.strings) {
        writer.u8(string.length);
        writer.latin1(string);
      }
      return undefined;
    case "opaque":
      return writer.octets(data.octets);
    default:
      return assertNever(data);
  }
}

class Overflow extends Error {}

class Writer {
  at = 0;
  readonly #buffer: Buffer;
  // The question's name stands at octet 12 of nearly every message, and owns nearly every record:
  // suffixes are only noted down once another name is written.
  #first: Name | undefined;
  #offsets: Map<string, number> | undefined;

  constructor(maxOctets: number) {
    this.#buffer = Buffer.allocUnsafe(maxOctets);
  }

  done(): Uint8Array {
    return this.#buffer.subarray(0, this.at);
  }

  #room(octets: number): number {
    const at = this.at;
    if (at + octets > this.#buffer.length) throw new Overflow();
    this.at += octets;
    return at;
  }

  u8(value: number): void {
    this.#buffer.writeUInt8(value, this.#room(1));
  }

  u16(value: number): void {
    this.#buffer.writeUInt16BE(value, this.#room(2));
  }

  u32(value: number): void {
    this.#buffer.writeUInt32BE(value, this.#room(4));
  }

  patchU16(at: number, value: number): void {
    this.#buffer.writeUInt16BE(value, at);
  }

  octets(octets: Uint8Array): void {
    this.#buffer.set(octets, this.#room(octets.length));
  }

  latin1(text: string): void {
    this.#buffer.write(text, this.#room(text.length), "latin1");
  }

  /** A name that stays whole. */
  questionName(name: Name): void {
    if (this.at === headerOctets) this.#first = name;
    this.latin1(name);
  }

  /**
   * A name, as a pointer from where an equal suffix was written before. Case does not count: so the
   * octets behind a question are the same in whatever case it was asked.
   */
  name(name: Name): void {
    if (name === this.#first && name.length > 1) return this.u16(0xc000 | headerOctets);
    const offsets = (this.#offsets ??= suffixesOf(this.#first));
    const folded = foldName(name);
    for (let at = 0; ; at += 1 + name.charCodeAt(at)) {
      if (name.charCodeAt(at) === 0) return this.latin1(name.slice(at));
      const suffix = folded.slice(at);
      const offset = offsets.get(suffix);
      if (offset !== undefined) return this.u16(0xc000 | offset);
      if (this.at <= maxPointerTarget) offsets.set(suffix, this.at);
      this.latin1(name.slice(at, at + 1 + name.charCodeAt(at)));
    }
  }
}

function suffixesOf(first: Name | undefined): Map<string, number> {
  const offsets = new Map<string, number>();
  if (first === undefined) return offsets;
  const folded = foldName(first);
  for (let at = 0; folded.charCodeAt(at) !== 0; at += 1 + folded.charCodeAt(at)) {
    offsets.set(folded.slice(at), headerOctets + at);
  }
  return offsets;
}
