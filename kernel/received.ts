// Received messages and attributes, read in place.
import { type Ip, ipFromBytes } from "../core/address.ts";
import { KernelError } from "../core/error.ts";
import { align, attributeHeaderLength } from "./message.ts";

/** Of an attribute's type field: the rest says whether it is nested, and in which byte order. */
const attributeTypeMask = 0x3fff;

/** Attributes in a part of a buffer. Looked for in place; of a repeated one the first counts. */
export class Attributes {
  readonly #buffer: Buffer;
  readonly #from: number;
  readonly #to: number;

  constructor(buffer: Buffer, from: number, to: number) {
    this.#buffer = buffer;
    this.#from = from;
    this.#to = to;
  }

  has(type: number): boolean {
    return this.#find(type) !== undefined;
  }

  /** @param types a bit for each, of those below 31. */
  hasAnyOf(types: number): boolean {
    for (let at = this.#from; at < this.#to; at += align(this.#lengthAt(at))) {
      const type = this.#buffer.readUInt16LE(at + 2) & attributeTypeMask;
      if (type < 31 && (types & (1 << type)) !== 0) return true;
    }
    return false;
  }

  u8(type: number): number | undefined {
    const at = this.#find(type, 1);
    return at === undefined ? undefined : this.#buffer.readUInt8(at);
  }

  u32(type: number): number | undefined {
    const at = this.#find(type, 4);
    return at === undefined ? undefined : this.#buffer.readUInt32LE(at);
  }

  u64(type: number): bigint | undefined {
    const at = this.#find(type, 8);
    return at === undefined ? undefined : this.#buffer.readBigUInt64LE(at);
  }

  u16be(type: number): number | undefined {
    const at = this.#find(type, 2);
    return at === undefined ? undefined : this.#buffer.readUInt16BE(at);
  }

  u32be(type: number): number | undefined {
    const at = this.#find(type, 4);
    return at === undefined ? undefined : this.#buffer.readUInt32BE(at);
  }

  /** In the receive buffer: copy what is to be kept. */
  octets(type: number): Buffer | undefined {
    const at = this.#find(type);
    return at === undefined ? undefined : this.#buffer.subarray(at, this.#endOf(at));
  }

  text(type: number): string | undefined {
    const octets = this.octets(type);
    if (octets === undefined) return undefined;
    const end = octets.indexOf(0);
    return octets.toString("utf8", 0, end < 0 ? octets.length : end);
  }

  /** Undefined too when it is neither an IPv4 nor an IPv6 address. */
  ip(type: number): Ip | undefined {
    const octets = this.octets(type);
    return octets?.length === 4 || octets?.length === 16 ? ipFromBytes(octets) : undefined;
  }

  nested(type: number): Attributes | undefined {
    const at = this.#find(type);
    return at === undefined ? undefined : new Attributes(this.#buffer, at, this.#endOf(at));
  }

  /** The nested attributes of a list, in which the type says nothing. */
  *list(): Generator<Attributes> {
    for (let at = this.#from; at < this.#to; at += align(this.#lengthAt(at))) {
      const start = at + attributeHeaderLength;
      yield new Attributes(this.#buffer, start, this.#endOf(start));
    }
  }

  /** Where the value starts. A shorter value than `octets` is malformed. */
  #find(type: number, octets = 0): number | undefined {
    for (let at = this.#from; at < this.#to;) {
      const length = this.#lengthAt(at);
      if ((this.#buffer.readUInt16LE(at + 2) & attributeTypeMask) === type) {
        if (length < attributeHeaderLength + octets) throw malformed(type, length);
        return at + attributeHeaderLength;
      }
      at += align(length);
    }
    return undefined;
  }

  #endOf(valueAt: number): number {
    const at = valueAt - attributeHeaderLength;
    return at + this.#lengthAt(at);
  }

  #lengthAt(at: number): number {
    const length = at + attributeHeaderLength > this.#to ? 0 : this.#buffer.readUInt16LE(at);
    if (length < attributeHeaderLength || at + length > this.#to)
      throw malformed(undefined, length);
    return length;
  }
}

const malformed = (type: number | undefined, length: number): KernelError =>
  new KernelError(
    `read netlink attribute${type === undefined ? "" : ` ${type}`} of ${length} octets`,
    "EBADMSG",
  );

/** A message as received, behind its netlink header. Valid until the next receive. */
export class Message {
  readonly type: number;
  readonly #buffer: Buffer;
  readonly #body: number;
  readonly #end: number;

  constructor(type: number, buffer: Buffer, body: number, end: number) {
    this.type = type;
    this.#buffer = buffer;
    this.#body = body;
    this.#end = end;
  }

  /** Port of the socket whose request it tells of; 0: the kernel's own doing. */
  get sender(): number {
    return this.#buffer.readUInt32LE(this.#body - 4);
  }

  /** A field of the fixed part that comes before the attributes, such as `struct rtmsg`. */
  u8(at: number): number {
    return this.#buffer.readUInt8(this.#fieldAt(at, 1));
  }

  u16(at: number): number {
    return this.#buffer.readUInt16LE(this.#fieldAt(at, 2));
  }

  u32(at: number): number {
    return this.#buffer.readUInt32LE(this.#fieldAt(at, 4));
  }

  /** Behind a fixed part of this many octets. */
  attributes(fixedLength: number): Attributes {
    return new Attributes(this.#buffer, this.#fieldAt(0, fixedLength) + fixedLength, this.#end);
  }

  #fieldAt(at: number, octets: number): number {
    const start = this.#body + at;
    if (start + octets > this.#end) throw malformed(undefined, this.#end - this.#body);
    return start;
  }
}
