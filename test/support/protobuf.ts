// Protocol Buffers' wire format (protobuf.dev, "Encoding"), as far as a test needs it: messages by field
// number, without a schema. A value's type says how it is written; whoever reads says what is there.

/** Field number → value. Undefined is left out, a list is repeated, a Map is a `map<string, string>`. */
export type Fields = { readonly [number: number]: FieldValue };
type FieldValue =
  | string
  | number
  | boolean
  | Fields
  | readonly string[]
  | readonly Fields[]
  | ReadonlyMap<string, string>
  | undefined;

const wireTypes = { varint: 0, i64: 1, length: 2, i32: 5 } as const;

export function encodeMessage(fields: Fields): Buffer {
  const parts = Object.entries(fields).flatMap(([number, value]) =>
    elementsOf(value).map((element) => encodeField(Number(number), element)),
  );
  return Buffer.concat(parts);
}

type Element = string | number | boolean | Fields;

function elementsOf(value: FieldValue): Element[] {
  if (value === undefined) return [];
  if (value instanceof Map) return [...value].map(([key, text]) => ({ 1: key, 2: text }));
  return Array.isArray(value) ? value : [value as Element];
}

function encodeField(number: number, value: Element): Buffer {
  if (typeof value === "number" || typeof value === "boolean") {
    return Buffer.concat([
      encodeVarint((number << 3) | wireTypes.varint),
      encodeVarint(Number(value)),
    ]);
  }
  const content = typeof value === "string" ? Buffer.from(value) : encodeMessage(value);
  const tag = encodeVarint((number << 3) | wireTypes.length);
  return Buffer.concat([tag, encodeVarint(content.length), content]);
}

function encodeVarint(value: number): Buffer {
  const octets: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  while (rest > 0x7fn) {
    octets.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  }
  return Buffer.from([...octets, Number(rest)]);
}

/** A decoded message: what it has of each field, read by the type that its definition gives. */
export class Message {
  readonly #fields = new Map<number, (bigint | Buffer)[]>();

  /** Throws RangeError when the octets end early, Error for a wire type that is none. */
  constructor(octets: Buffer) {
    let at = 0;
    const varint = (): bigint => {
      let value = 0n;
      for (let shift = 0n; shift < 70n; shift += 7n) {
        const octet = octets.readUInt8(at++);
        value |= BigInt(octet & 0x7f) << shift;
        if (octet < 0x80) return value;
      }
      throw new Error(`Cannot decode the number at ${at}: more than 10 octets`);
    };
    const take = (length: number): Buffer => {
      if (at + length > octets.length)
        throw new RangeError(`Cannot read ${length} octets at ${at}`);
      return octets.subarray(at, (at += length));
    };
    while (at < octets.length) {
      const tag = Number(varint());
      const number = tag >> 3;
      const values = this.#fields.get(number) ?? [];
      this.#fields.set(number, values);
      const wireType = tag & 7;
      if (wireType === wireTypes.varint) values.push(varint());
      else if (wireType === wireTypes.length) values.push(take(Number(varint())));
      else if (wireType === wireTypes.i64) values.push(take(8));
      else if (wireType === wireTypes.i32) values.push(take(4));
      else throw new Error(`Cannot decode wire type ${wireType} of field ${number}`);
    }
  }

  /** Empty when the field is not there. */
  text(number: number): string {
    return this.octets(number).toString("utf8");
  }

  octets(number: number): Buffer {
    return this.#lengths(number).at(-1) ?? Buffer.alloc(0);
  }

  /** 0 when the field is not there. */
  integer(number: number): number {
    const value = this.#fields.get(number)?.at(-1) ?? 0n;
    if (typeof value !== "bigint") throw new Error(`Field ${number} is no number`);
    return Number(BigInt.asIntN(64, value));
  }

  message(number: number): Message {
    return new Message(this.octets(number));
  }

  messages(number: number): Message[] {
    return this.#lengths(number).map((octets) => new Message(octets));
  }

  #lengths(number: number): Buffer[] {
    return (this.#fields.get(number) ?? []).map((value) => {
      if (typeof value === "bigint") throw new Error(`Field ${number} is a number`);
      return value;
    });
  }
}
