// Records, types and rcodes as people write them: the presentation format of RFC 1035 section 5.1.
import { Rcode, type RecordData, RecordType, type ResourceRecord } from "./message.ts";
import { formatName } from "./name.ts";

const typeNames = new Map<number, string>(
  Object.entries({
    ...RecordType,
    SVCB: 64,
    HTTPS: 65,
    CAA: 257,
    NAPTR: 35,
    DS: 43,
    DNSKEY: 48,
  }).map(([name, number]) => [number, name]),
);
const typeNumbers = new Map(typeNames.entries().map(([number, name]) => [name, number]));
const rcodeNames = new Map<number, string>(
  Object.entries(Rcode).map(([name, number]) => [number, name]),
);

/** RFC 3597 section 5: a type without a name here is `TYPE65280`. */
export const typeText = (type: number): string => typeNames.get(type) ?? `TYPE${type}`;
export const rcodeText = (rcode: number): string => rcodeNames.get(rcode) ?? `RCODE${rcode}`;

/** The types that have names here. */
export const knownTypes: readonly string[] = [...typeNumbers.keys()];

/** By name, in any case, or as `TYPE65280`; undefined for anything else. */
export function parseType(text: string): number | undefined {
  const known = typeNumbers.get(text.toUpperCase());
  if (known !== undefined) return known;
  const number = Number(/^TYPE(\d{1,5})$/i.exec(text)?.[1] ?? Number.NaN);
  return number >= 1 && number <= 65_535 ? number : undefined;
}

/** One line: owner, TTL, type, data. */
export const recordText = ({ name, ttl, type, data }: ResourceRecord): string =>
  `${absolute(formatName(name))} ${ttl} ${typeText(type)} ${dataText(data)}`;

const absolute = (text: string): string => (text === "." ? text : `${text}.`);

function dataText(data: RecordData): string {
  switch (data.kind) {
    case "address":
      return data.address;
    case "name":
      return absolute(formatName(data.name));
    case "srv":
      return `${data.priority} ${data.weight} ${data.port} ${absolute(formatName(data.target))}`;
    case "txt":
      return data.strings.map((text) => JSON.stringify(text)).join(" ");
    case "soa": {
      const { primary, mailbox, serial, refresh, retry, expire, minimum } = data;
      const names = [primary, mailbox].map((name) => absolute(formatName(name)));
      return [...names, serial, refresh, retry, expire, minimum].join(" ");
    }
    case "opaque":
      return `\\# ${data.octets.length} ${Buffer.from(data.octets).toString("hex")}`;
  }
}
