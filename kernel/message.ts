// Netlink messages as octets: <linux/netlink.h>, RFC 3549 section 2.3.2. Written in place into one
// growing buffer, because a node's state is ten thousand messages: the objects of the netlink package
// would cost more than the kernel's own work.
import { endianness } from "node:os";
import { type Ip, type Mac, ipLength, writeIp, writeMac } from "../core/address.ts";
import { invariant } from "../core/assert.ts";

// Netlink is in the machine's byte order. x64 and arm64, which Node comes for, are both little-endian.
invariant(endianness() === "LE", "this machine is little-endian");

export const headerLength = 16;
export const attributeHeaderLength = 4;
const requestFlag = 1;
const nestedFlag = 0x8000;

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
    const start = this.#grow(headerLength);
    this.#starts.push(start);
    const buffer = this.#buffer;
    for (let at = start; at < start + headerLength; at++) buffer[at] = 0;
    store16(buffer, start + 4, type);
    store16(buffer, start + 6, flags | requestFlag);
    body();
    store32(this.#buffer, start, this.#length - start);
    this.#pad();
  }

  u8(value: number): this {
    const at = this.#grow(1);
    this.#buffer[at] = value;
    return this;
  }

  u16(value: number): this {
    const at = this.#grow(2);
    store16(this.#buffer, at, value);
    return this;
  }

  u16be(value: number): this {
    const at = this.#grow(2);
    this.#buffer[at] = value >> 8;
    this.#buffer[at + 1] = value;
    return this;
  }

  u32(value: number): this {
    const at = this.#grow(4);
    store32(this.#buffer, at, value);
    return this;
  }

  attributeU8(type: number, value: number): this {
    const at = this.#attribute(type, 1);
    this.#buffer[at] = value;
    return this;
  }

  attributeU32(type: number, value: number): this {
    const at = this.#attribute(type, 4);
    store32(this.#buffer, at, value);
    return this;
  }

  attributeU64(type: number, value: bigint): this {
    const at = this.#attribute(type, 8);
    this.#buffer.writeBigUInt64LE(value, at);
    return this;
  }

  /** Network byte order, as all of nf_tables and port numbers have it. */
  attributeU16be(type: number, value: number): this {
    const at = this.#attribute(type, 2);
    this.#buffer.writeUInt16BE(value, at);
    return this;
  }

  attributeU32be(type: number, value: number): this {
    const at = this.#attribute(type, 4);
    this.#buffer.writeUInt32BE(value >>> 0, at);
    return this;
  }

  attributeOctets(type: number, octets: Uint8Array): this {
    const at = this.#attribute(type, octets.length);
    this.#buffer.set(octets, at);
    return this;
  }

  /** With the zero at its end that the kernel wants. */
  attributeText(type: number, text: string): this {
    const length = Buffer.byteLength(text) + 1;
    const at = this.#attribute(type, length);
    this.#buffer.write(text, at);
    this.#buffer[at + length - 1] = 0;
    return this;
  }

  attributeIp(type: number, ip: Ip): this {
    const at = this.#attribute(type, ipLength(ip));
    writeIp(ip, this.#buffer, at);
    return this;
  }

  attributeMac(type: number, mac: Mac): this {
    const at = this.#attribute(type, 6);
    writeMac(mac, this.#buffer, at);
    return this;
  }

  nested(type: number, body: () => void): this {
    const start = this.#length;
    this.u16(0).u16(type | nestedFlag);
    body();
    const length = this.#length - start;
    invariant(length <= 0xffff, "a nested attribute has at most 65,535 octets");
    store16(this.#buffer, start, length);
    return this;
  }

  /** Gives where the value of `length` octets goes; what it is padded with is there. */
  #attribute(type: number, length: number): number {
    const at = this.#grow(attributeHeaderLength + align(length));
    store16(this.#buffer, at, attributeHeaderLength + length);
    store16(this.#buffer, at + 2, type);
    for (let pad = at + attributeHeaderLength + length; pad < this.#length; pad++) {
      this.#buffer[pad] = 0;
    }
    return at + attributeHeaderLength;
  }

  #pad(): void {
    const padded = align(this.#length);
    for (let at = this.#grow(padded - this.#length); at < padded; at++) this.#buffer[at] = 0;
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

// Not by Buffer's own methods, which check what is known to be right: ten octets in ten are such numbers.
function store16(octets: Uint8Array, at: number, value: number): void {
  octets[at] = value;
  octets[at + 1] = value >> 8;
}

function store32(octets: Uint8Array, at: number, value: number): void {
  octets[at] = value;
  octets[at + 1] = value >> 8;
  octets[at + 2] = value >> 16;
  octets[at + 3] = value >> 24;
}

/** A batch of what `write` writes, for a request of its own. */
export function batchOf(write: (batch: MessageBatch) => void): MessageBatch {
  const batch = new MessageBatch();
  write(batch);
  return batch;
}
