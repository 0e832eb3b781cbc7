// Netlink messages as octets: <linux/netlink.h>, RFC 3549 section 2.3.2. Written in place into one
// growing buffer, and read in place from the receive buffer, because a node's state is ten thousand
// messages: the objects of the netlink package would cost more than the kernel's own work.
import { endianness } from "node:os";
import { type Ip, type Mac, ipFromBytes, ipToBytes, macToBytes } from "../core/address.ts";
import { invariant } from "../core/assert.ts";
import { KernelError } from "../core/error.ts";

// Netlink is in the machine's byte order. x64 and arm64, which Node comes for, are both little-endian.
invariant(endianness() === "LE", "this machine is little-endian");

export const headerLength = 16;
const attributeHeaderLength = 4;
const requestFlag = 1;
const nestedFlag = 0x8000;
const attributeTypeMask = 0x3fff;

/** Messages and attributes start at multiples of four. */
export const align = (length: number): number => (length + 3) & ~3;

/** Small enough to come from Node's pool. */
const firstBatchOctets = 2048;

/** Messages, one after another, as one send takes them. */
export class MessageBatch {
  #buffer = Buffer.allocUnsafe(firstBatchOctets);
  #length = 0;
  readonly #starts: number[] = [];

  get count(): number {
    return this.#starts.length;
  }

  /** Valid until the next write. */
  get octets(): Buffer {
    return this.#buffer.subarray(0, this.#length);
  }

  /** Where message `index` starts in `octets`; the end of the last one when there is no such. */
  startOf(index: number): number {
    return this.#starts[index] ?? this.#length;
  }

  clear(): void {
    this.#length = 0;
    this.#starts.length = 0;
  }

  /** One message: its header, then what `body` writes. The sequence number is the sender's. */
  message(type: number, flags: number, body: () => void): void {
    const start = this.#length;
    this.#starts.push(start);
    this.u32(0)
      .u16(type)
      .u16(flags | requestFlag)
      .u32(0)
      .u32(0);
    body();
    this.#buffer.writeUInt32LE(this.#length - start, start);
    this.#pad();
  }

  u8(value: number): this {
    const at = this.#grow(1);
    this.#buffer.writeUInt8(value, at);
    return this;
  }

  u16(value: number): this {
    const at = this.#grow(2);
    this.#buffer.writeUInt16LE(value, at);
    return this;
  }

  u16be(value: number): this {
    const at = this.#grow(2);
    this.#buffer.writeUInt16BE(value, at);
    return this;
  }

  u32(value: number): this {
    const at = this.#grow(4);
    this.#buffer.writeUInt32LE(value >>> 0, at);
    return this;
  }

  attributeU8(type: number, value: number): this {
    return this.#attribute(type, 1).u8(value).#pad();
  }

  attributeU32(type: number, value: number): this {
    return this.#attribute(type, 4).u32(value);
  }

  /** Network byte order, as all of nf_tables and port numbers have it. */
  attributeU16be(type: number, value: number): this {
    return this.#attribute(type, 2).u16be(value).#pad();
  }

  attributeU32be(type: number, value: number): this {
    this.#attribute(type, 4);
    const at = this.#grow(4);
    this.#buffer.writeUInt32BE(value >>> 0, at);
    return this;
  }

  attributeOctets(type: number, octets: Uint8Array): this {
    this.#attribute(type, octets.length);
    const at = this.#grow(octets.length);
    this.#buffer.set(octets, at);
    return this.#pad();
  }

  /** With the zero at its end that the kernel wants. */
  attributeText(type: number, text: string): this {
    return this.attributeOctets(type, Buffer.from(`${text}\0`));
  }

  attributeIp(type: number, ip: Ip): this {
    return this.attributeOctets(type, ipToBytes(ip));
  }

  attributeMac(type: number, mac: Mac): this {
    return this.attributeOctets(type, macToBytes(mac));
  }

  nested(type: number, body: () => void): this {
    const start = this.#length;
    this.u16(0).u16(type | nestedFlag);
    body();
    const length = this.#length - start;
    invariant(length <= 0xffff, "a nested attribute has at most 65,535 octets");
    this.#buffer.writeUInt16LE(length, start);
    return this;
  }

  #attribute(type: number, length: number): this {
    return this.u16(attributeHeaderLength + length).u16(type);
  }

  #pad(): this {
    const length = align(this.#length) - this.#length;
    if (length > 0) {
      const at = this.#grow(length);
      this.#buffer.fill(0, at, at + length);
    }
    return this;
  }

  /** Makes room for `length` octets and says where they go. The buffer may be another one then. */
  #grow(length: number): number {
    const at = this.#length;
    this.#length = at + length;
    if (this.#length > this.#buffer.length) {
      const larger = Buffer.allocUnsafe(Math.max(this.#buffer.length * 2, this.#length));
      this.#buffer.copy(larger, 0, 0, at);
      this.#buffer = larger;
    }
    return at;
  }
}

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

  u8(type: number): number | undefined {
    const at = this.#find(type, 1);
    return at === undefined ? undefined : this.#buffer.readUInt8(at);
  }

  u32(type: number): number | undefined {
    const at = this.#find(type, 4);
    return at === undefined ? undefined : this.#buffer.readUInt32LE(at);
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
