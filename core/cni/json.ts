// Reading a request. Every reference plugin is written in Go, whose decoder matches keys without
// regard to case and takes null as absent, and real runtimes rely on both: containerd sends
// `portMappings: [{ "HostPort": … }]` and an empty list as null.
import {
  type Cidr,
  type InterfaceCidr,
  type Ip,
  type Mac,
  cidrOf,
  parseCidr,
  parseInterfaceCidr,
  parseIp,
  parseMac,
} from "../address.ts";
import { CniCode, CniError } from "./error.ts";

/** A value in a JSON document, with the path that messages call it by: `ipam.ranges[0][1].subnet`. */
export interface Json {
  readonly path: string;
  readonly value: unknown;
}

/** Makes a value of ours of a JSON value; throws {@link invalidValue}. Undefined: as if absent. */
export type Reader<T> = (at: Json) => T;

type JsonObject = Readonly<Record<string, unknown>>;

export const isJsonObject = (value: unknown): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** `Invalid mtu 12: expected …`, error 7. Long values are cut: they come back in a message. */
export function invalidValue(at: Json, expected: string): CniError {
  const text = JSON.stringify(at.value) ?? "nothing";
  const shown = text.length > 120 ? `${text.slice(0, 120)}…` : text;
  return new CniError(CniCode.invalidConfig, `Invalid ${at.path} ${shown}: expected ${expected}`);
}

/** The member of that name, in any case; the last one wins, as in Go. Undefined: absent or null. */
export function member(at: Json, key: string): Json | undefined {
  if (!isJsonObject(at.value)) throw invalidValue(at, "an object");
  const found = membersOf(at.value).get(key.toLowerCase());
  if (found === undefined || found === null) return undefined;
  return { path: at.path === "" ? key : `${at.path}.${key}`, value: found };
}

/** By their names in lower case. */
function membersOf(object: JsonObject): ReadonlyMap<string, unknown> {
  let members = knownMembers.get(object);
  if (members === undefined) {
    members = new Map(Object.entries(object).map(([name, value]) => [name.toLowerCase(), value]));
    knownMembers.set(object, members);
  }
  return members;
}

// A configuration is asked for every key that there is.
const knownMembers = new WeakMap<JsonObject, ReadonlyMap<string, unknown>>();

/** The member's value; throws when it is absent. */
export function required<T>(at: Json, key: string, read: Reader<T | undefined>): T {
  const found = member(at, key);
  const value = found === undefined ? undefined : read(found);
  if (value !== undefined) return value;
  const where = at.path === "" ? "configuration" : at.path;
  throw new CniError(CniCode.invalidConfig, `Invalid ${where}: expected the key "${key}"`);
}

/** `{ key: value }`, or nothing when the member is absent: to be spread into a result. */
export function optional<Key extends string, T>(
  at: Json,
  key: Key,
  read: Reader<T | undefined>,
): { readonly [K in Key]?: T } {
  const found = member(at, key);
  const value = found === undefined ? undefined : read(found);
  const result: { [K in Key]?: T } = {};
  if (value !== undefined) result[key] = value;
  return result;
}

/** The members of a list, read one by one; empty when the list is absent. */
export function list<T>(at: Json, key: string, read: Reader<T>): readonly T[] {
  const found = member(at, key);
  return found === undefined ? [] : items(found).map(read);
}

/** The members of a list. */
export function items(at: Json): readonly Json[] {
  if (!Array.isArray(at.value)) throw invalidValue(at, "a list");
  return at.value.map((value: unknown, index) => ({ path: `${at.path}[${index}]`, value }));
}

export function readObject(at: Json): Json {
  if (!isJsonObject(at.value)) throw invalidValue(at, "an object");
  return at;
}

export function readString(at: Json): string {
  if (typeof at.value !== "string") throw invalidValue(at, "a string");
  return at.value;
}

/** Go has no absent string: an empty one is as good as none. */
export const readText: Reader<string | undefined> = (at) => readString(at) || undefined;

export const readBoolean: Reader<boolean> = (at) => {
  if (typeof at.value === "boolean") return at.value;
  throw invalidValue(at, "true or false");
};

export const readStrings: Reader<readonly string[]> = (at) => items(at).map(readString);

/** Addresses as resolv.conf(5) has them, an IPv6 one with or without its zone; an empty text is as good as none. */
export const readNameservers: Reader<readonly string[]> = (at) =>
  items(at).flatMap((item) => {
    const text = readText(item);
    if (text === undefined) return [];
    if (parseIp(text.replace(/(?<=:.*)%[\w.-]+$/, "")) === undefined) {
      throw invalidValue(item, "an IP address");
    }
    return [text];
  });

/** A whole number from `min` to `max`. */
export const readInteger =
  (min: number, max: number): Reader<number> =>
  (at) => {
    const { value } = at;
    if (typeof value !== "number" || !Number.isInteger(value) || value < min || value > max) {
      throw invalidValue(at, `a whole number from ${min} to ${max}`);
    }
    return value;
  };

/** An address, or undefined for "". */
export const readOptionalIp: Reader<Ip | undefined> = (at) =>
  at.value === "" ? undefined : parsed(at, parseIp, "an IP address");

/** A MAC address of six octets, or undefined for "". */
export const readMac: Reader<Mac | undefined> = (at) =>
  at.value === "" ? undefined : parsed(at, parseMac, "a MAC address of six octets");

export const readInterfaceCidr: Reader<InterfaceCidr> = (at) =>
  parsed(at, parseInterfaceCidr, "an address with its prefix, such as 10.244.1.7/24");

/** A network; host bits are an error that names the network that was probably meant. */
export const readCidr: Reader<Cidr> = (at) =>
  parsed(at, parseCidr, `a network${networkMeantBy(at.value)}`);

/** An address with or without a prefix, which does not matter. */
export const readRequestedIp: Reader<Ip> = (at) =>
  parsed(at, parseRequestedIp, "an IP address, with or without a prefix");

export const parseRequestedIp = (text: string): Ip | undefined =>
  text.includes("/") ? parseInterfaceCidr(text)?.address : parseIp(text);

function parsed<T>(at: Json, parse: (text: string) => T | undefined, expected: string): T {
  const value = typeof at.value === "string" ? parse(at.value) : undefined;
  if (value === undefined) throw invalidValue(at, expected);
  return value;
}

function networkMeantBy(value: unknown): string {
  const parsed = typeof value === "string" ? parseInterfaceCidr(value) : undefined;
  return parsed === undefined
    ? ", such as 10.244.1.0/24"
    : `: ${cidrOf(parsed.address, parsed.prefixLength)} has no host bits`;
}
