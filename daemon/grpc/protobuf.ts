// Protocol Buffers' wire format (protobuf.dev, "Encoding"), as far as it is needed: messages by field
// number, without a schema. A value's type says how it is written; whoever reads says what is there.

/** Field number → value. Undefined is left out, a list is repeated, a Map is a `map<string, string>`. */
export type Fields = { readonly [number: number]: FieldValue };
type FieldValue =
  | Scalar
  | Fields
  | readonly string[]
  | readonly Fields[]
  | ReadonlyMap<string, string>
  | undefined;
type Scalar = string | Buffer | number | bigint | boolean;

const wireTypes = { varint: 0, i64: 1, length: 2, i32: 5 } as const;

export function encodeMessage(fields: Fields): Buffer {
  const parts: Buffer[] = [];
  for (const [number, value] of Object.entries(fields)) {
    encodeValue(Number(number), value, parts);
  }
  return Buffer.concat(parts);
}

function encodeValue(number: number, value: FieldValue, parts: Buffer[]): void {
  if (value === undefined) return;
  if (typeof value !== "object") parts.push(...encodeScalar(number, value));
  else if (Buffer.isBuffer(value)) parts.push(...lengthDelimited(number, value));
  else if (isMap(value)) {
    for (const [key, text] of value) encodeValue(number, { 1: key, 2: text }, parts);
  } else if (isList(value)) for (const item of value) encodeValue(number, item, parts);
  else parts.push(...lengthDelimited(number, encodeMessage(value)));
}

const isMap = (value: object): value is ReadonlyMap<string, string> => value instanceof Map;
const isList = (value: FieldValue): value is readonly string[] | readonly Fields[] =>
  Array.isArray(value);

function encodeScalar(number: number, value: Exclude<Scalar, Buffer>): readonly Buffer[] {
  if (typeof value === "string") return lengthDelimited(number, Buffer.from(value));
  return [encodeVarint((number << 3) | wireTypes.varint), encodeVarint(value)];
}

const lengthDelimited = (number: number, content: Buffer): readonly Buffer[] => [
  encodeVarint((number << 3) | wireTypes.length),
  encodeVarint(content.length),
  content,
];

function encodeVarint(value: number | bigint | boolean): Buffer {
  const octets: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  while (rest > 0x7fn) {
    octets.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  }
  return Buffer.from([...octets, Number(rest)]);
}

/** Octets that a number of JavaScript holds exactly at 7 bits each. */
const exactOctets = 7;

/** A decoded message: what it has of each field, read by the type that its definition gives. */
export class Message {
  readonly #fields = new Map<number, (number | bigint | Buffer)[]>();

  /** Throws RangeError when the octets end early, Error for a wire type that is none. */
  constructor(octets: Buffer) {
    const reader = new Reader(octets);
    while (!reader.isAtEnd) {
      const tag = Number(reader.varint());
      const number = tag >>> 3;
      const value = readValue(reader, tag & 7, number);
      const values = this.#fields.get(number);
      if (values === undefined) this.#fields.set(number, [value]);
      else values.push(value);
    }
  }

  /** Empty when the field is not there. */
  text(number: number): string {
    return this.octets(number).toString("utf8");
  }

  octets(number: number): Buffer {
    return this.#lengths(number).at(-1) ?? Buffer.alloc(0);
  }

  /** 0 when the field is not there. Rounded beyond 2^53. */
  integer(number: number): number {
    return Number(this.bigint(number));
  }

  /** As an int64; 0 when the field is not there. */
  bigint(number: number): bigint {
    const value = this.#fields.get(number)?.at(-1) ?? 0;
    if (Buffer.isBuffer(value)) throw new Error(`Field ${number} is no number`);
    return BigInt.asIntN(64, BigInt(value));
  }

  message(number: number): Message {
    return new Message(this.octets(number));
  }

  messages(number: number): Message[] {
    return this.#lengths(number).map((octets) => new Message(octets));
  }

  #lengths(number: number): Buffer[] {
    return (this.#fields.get(number) ?? []).map((value) => {
      if (!Buffer.isBuffer(value)) throw new Error(`Field ${number} is a number`);
      return value;
    });
  }
}

function readValue(reader: Reader, wireType: number, number: number): number | bigint | Buffer {
  switch (wireType) {
    case wireTypes.varint:
      return reader.varint();
    case wireTypes.length:
      return reader.take(Number(reader.varint()));
    case wireTypes.i64:
      return reader.take(8);
    case wireTypes.i32:
      return reader.take(4);
    default:
      throw new Error(`Cannot decode wire type ${wireType} of field ${number}`);
  }
}

class Reader {
  readonly #octets: Buffer;
  #at = 0;

  constructor(octets: Buffer) {
    this.#octets = octets;
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#octets.length;
  }

  varint(): number | bigint {
    let value = 0;
    let scale = 1;
    for (let count = 0; count < exactOctets; count++) {
      const octet = this.#octets.readUInt8(this.#at++);
      value += (octet & 0x7f) * scale;
      if (octet < 0x80) return value;
      scale *= 128;
    }
    let large = BigInt(value);
    for (let shift = BigInt(7 * exactOctets); shift < 70n; shift += 7n) {
      const octet = this.#octets.readUInt8(this.#at++);
      large |= BigInt(octet & 0x7f) << shift;
      if (octet < 0x80) return large;
    }
    throw new Error(`Cannot decode the number at ${this.#at}: more than 10 octets`);
  }

  take(length: number): Buffer {
    if (this.#at + length > this.#octets.length) {
      throw new RangeError(`Cannot read ${length} octets at ${this.#at}`);
    }
    return this.#octets.subarray(this.#at, (this.#at += length));
  }
}
