import { ipFromBytes, isIpv4 } from "../../core/address.ts";
import {
  DecodeError,
  type Edns,
  type EdnsOption,
  headerOctets,
  type Message,
  type Question,
  RecordClass,
  type RecordData,
  RecordType,
  type ResourceRecord,
} from "./message.ts";
import { brandName, maxNameOctets, type Name } from "./name.ts";

// Pointers only lead backward, so a name always ends; this bounds the work of one.
const maxPointers = 127;

// A record may have an OPT's type only in the additional section (RFC 6891 section 6.1.1).
interface Additional {
  readonly records: readonly ResourceRecord[];
  readonly edns?: Edns;
  /** The upper eight bits of the rcode. */
  readonly extendedRcode: number;
}

/**
 * The message of a datagram or of one TCP frame. Octets after the last record are ignored, as other
 * servers do. Throws {@link DecodeError}, and nothing else, for whatever is not a message.
 */
export function decodeMessage(packet: Uint8Array): Message {
  const reader = new Reader(packet);
  if (packet.length < headerOctets) throw reader.error("a header of 12 octets");
  const id = reader.u16();
  const flags = reader.u16();
  const counts = [reader.u16(), reader.u16(), reader.u16(), reader.u16()] as const;
  const questions = readQuestions(reader, counts[0]);
  const answers = readRecords(reader, counts[1]);
  const authorities = readRecords(reader, counts[2]);
  const additional = readAdditional(reader, counts[3]);
  return {
    id,
    isResponse: (flags & 0x8000) !== 0,
    opcode: (flags >> 11) & 0x0f,
    authoritative: (flags & 0x0400) !== 0,
    truncated: (flags & 0x0200) !== 0,
    recursionDesired: (flags & 0x0100) !== 0,
    recursionAvailable: (flags & 0x0080) !== 0,
    authenticData: (flags & 0x0020) !== 0,
    checkingDisabled: (flags & 0x0010) !== 0,
    rcode: (additional.extendedRcode << 4) | (flags & 0x0f),
    questions,
    answers,
    authorities,
    additionals: additional.records,
    ...(additional.edns && { edns: additional.edns }),
  };
}

class Reader {
  readonly packet: Buffer;
  at = 0;

  constructor(packet: Uint8Array) {
    this.packet = Buffer.from(packet.buffer, packet.byteOffset, packet.byteLength);
  }

  error(expected: string): DecodeError {
    return new DecodeError(`Cannot decode message at octet ${this.at}: expected ${expected}`);
  }

  need(octets: number): void {
    if (this.at + octets > this.packet.length) throw this.error(`${octets} more octets`);
  }

  u8(): number {
    this.need(1);
    return this.packet[this.at++] ?? 0;
  }

  u16(): number {
    this.need(2);
    const value = this.packet.readUInt16BE(this.at);
    this.at += 2;
    return value;
  }

  u32(): number {
    this.need(4);
    const value = this.packet.readUInt32BE(this.at);
    this.at += 4;
    return value;
  }

  octets(length: number): Uint8Array {
    this.need(length);
    const octets = Uint8Array.from(this.packet.subarray(this.at, this.at + length));
    this.at += length;
    return octets;
  }

  latin1(length: number): string {
    this.need(length);
    this.at += length;
    return this.packet.toString("latin1", this.at - length, this.at);
  }

  /** A name, also compressed; pointers only lead to before the labels that they end. */
  name(pointers: "compressed" | "whole" = "compressed"): Name {
    let wire = "";
    let start = this.at;
    let at = start;
    let end = -1;
    for (let jumps = 0; ;) {
      const length = this.packet[at];
      if (length === undefined) throw this.error("a name that ends in the message");
      if (length <= 63) {
        at += 1 + length;
        if (wire.length + at - start > maxNameOctets) throw this.error("a name of 255 octets");
        if (length > 0) continue;
        if (end < 0) end = at;
        wire += this.packet.toString("latin1", start, at);
        break;
      }
      if (length < 0xc0) throw this.error("a label type of RFC 1035");
      const target = ((length & 0x3f) << 8) | (this.packet[at + 1] ?? 0xff);
      if (pointers === "whole" || target >= start || ++jumps > maxPointers) {
        throw this.error(pointers === "whole" ? "a whole name" : "a pointer backward");
      }
      if (end < 0) end = at + 2;
      wire += this.packet.toString("latin1", start, at);
      start = at = target;
    }
    this.at = end;
    return brandName(wire);
  }
}

function readQuestions(reader: Reader, count: number): Question[] {
  const questions: Question[] = [];
  for (let i = 0; i < count; i++) {
    // Nothing precedes the question that a pointer in it could mean.
    const name = reader.name("whole");
    questions.push({ name, type: reader.u16(), class: reader.u16() });
  }
  return questions;
}

function readRecords(reader: Reader, count: number): ResourceRecord[] {
  const records: ResourceRecord[] = [];
  for (let i = 0; i < count; i++) {
    const name = reader.name();
    const type = reader.u16();
    if (type === RecordType.OPT) throw reader.error("OPT only in the additional section");
    records.push(readRecord(reader, name, type));
  }
  return records;
}

function readRecord(reader: Reader, name: Name, type: number): ResourceRecord {
  const recordClass = reader.u16();
  const ttl = reader.u32();
  const length = reader.u16();
  reader.need(length);
  const end = reader.at + length;
  const data = readData(reader, recordClass === RecordClass.IN ? type : -type, end);
  if (reader.at !== end) throw reader.error(`data of ${length} octets for type ${type}`);
  // RFC 2181 section 8: a TTL with the top bit set is zero.
  return { name, type, class: recordClass, ttl: ttl > 0x7fff_ffff ? 0 : ttl, data };
}

function readAdditional(reader: Reader, count: number): Additional {
  const records: ResourceRecord[] = [];
  let edns: Edns | undefined;
  let extendedRcode = 0;
  for (let i = 0; i < count; i++) {
    const name = reader.name();
    const type = reader.u16();
    if (type !== RecordType.OPT) {
      records.push(readRecord(reader, name, type));
      continue;
    }
    if (edns !== undefined) throw reader.error("one OPT record");
    if (name.length !== 1) throw reader.error("the root as owner of OPT");
    const udpSize = reader.u16();
    extendedRcode = reader.u8();
    const version = reader.u8();
    const dnssecOk = (reader.u16() & 0x8000) !== 0;
    edns = { udpSize, version, dnssecOk, options: readOptions(reader) };
  }
  return { records, extendedRcode, ...(edns && { edns }) };
}

function readOptions(reader: Reader): EdnsOption[] {
  const length = reader.u16();
  reader.need(length);
  const end = reader.at + length;
  const options: EdnsOption[] = [];
  while (reader.at < end) {
    const code = reader.u16();
    options.push({ code, octets: reader.octets(reader.u16()) });
  }
  if (reader.at !== end) throw reader.error("options that fill the OPT record");
  return options;
}

// `type` is negative outside class IN, where addresses and SRV mean something else.
function readData(reader: Reader, type: number, end: number): RecordData {
  switch (type) {
    case RecordType.A:
      return { kind: "address", address: ipFromBytes(reader.octets(4)) };
    case RecordType.AAAA:
      return readAaaa(reader);
    case RecordType.SRV:
      return {
        kind: "srv",
        priority: reader.u16(),
        weight: reader.u16(),
        port: reader.u16(),
        target: reader.name(),
      };
    default:
      return readClasslessData(reader, Math.abs(type), end);
  }
}

function readClasslessData(reader: Reader, type: number, end: number): RecordData {
  switch (type) {
    case RecordType.CNAME:
    case RecordType.NS:
    case RecordType.PTR:
      return { kind: "name", name: reader.name() };
    case RecordType.SOA:
      return {
        kind: "soa",
        primary: reader.name(),
        mailbox: reader.name(),
        serial: reader.u32(),
        refresh: reader.u32(),
        retry: reader.u32(),
        expire: reader.u32(),
        minimum: reader.u32(),
      };
    case RecordType.TXT: {
      const strings: string[] = [];
      while (reader.at < end) strings.push(reader.latin1(reader.u8()));
      return { kind: "txt", strings };
    }
    default:
      return readOpaque(reader, type, end);
  }
}

// An IPv4-mapped address stays opaque: as an Ip it would be IPv4, which an AAAA cannot carry.
function readAaaa(reader: Reader): RecordData {
  const octets = reader.octets(16);
  const address = ipFromBytes(octets);
  return isIpv4(address) ? { kind: "opaque", octets } : { kind: "address", address };
}

// Older types whose names may be compressed (RFC 3597 section 4): n = name, s = string, digits =
// that many octets. Their names are made whole, so that the data can stand in another message.
const layouts: Readonly<Record<number, readonly (number | "n" | "s")[]>> = {
  3: ["n"], // MD
  4: ["n"], // MF
  7: ["n"], // MB
  8: ["n"], // MG
  9: ["n"], // MR
  14: ["n", "n"], // MINFO
  15: [2, "n"], // MX
  17: ["n", "n"], // RP
  18: [2, "n"], // AFSDB
  21: [2, "n"], // RT
  24: [18, "n"], // SIG
  26: [2, "n", "n"], // PX
  30: ["n"], // NXT
  35: [4, "s", "s", "s", "n"], // NAPTR
  36: [2, "n"], // KX
};

function readOpaque(reader: Reader, type: number, end: number): RecordData {
  const layout = layouts[type];
  if (layout === undefined) return { kind: "opaque", octets: reader.octets(end - reader.at) };
  let whole = "";
  for (const part of layout) {
    if (part === "n") whole += reader.name();
    else if (part === "s") whole += reader.latin1(1 + (reader.packet[reader.at] ?? 0));
    else whole += reader.latin1(part);
  }
  if (reader.at < end) whole += reader.latin1(end - reader.at);
  return { kind: "opaque", octets: Uint8Array.from(Buffer.from(whole, "latin1")) };
}
