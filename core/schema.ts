// Building blocks for schemas at the boundary. Each one's message says what is accepted, so that the
// reporter only has to add where the value is and what it was.
import * as v from "valibot";
import {
  type Cidr,
  cidrContains,
  type Ip,
  type Mac,
  parseCidr,
  parseIp,
  parseMac,
} from "./address.ts";
import { specialNetworks } from "./special-networks.ts";

/** Text that `parse` takes; `expected` completes the sentence "expected …". */
export const parsed = <T>(parse: (text: string) => T | undefined, expected: string) =>
  v.pipe(
    v.string(expected),
    v.transform(parse),
    v.custom<T>((value) => value !== undefined, expected),
  );

export const ipSchema = parsed<Ip>(parseIp, "an IPv4 or IPv6 address");

// A machine may be known by an address of its link.
const noHosts = specialNetworks.filter(({ what }) => what !== "link-local");

/** An address at which other machines can reach one. */
export const hostIpSchema = parsed<Ip>((text) => {
  const ip = parseIp(text);
  return ip === undefined || noHosts.some(({ cidr }) => cidrContains(cidr, ip)) ? undefined : ip;
}, "an IPv4 or IPv6 address of one machine");

export const cidrSchema = parsed<Cidr>(
  parseCidr,
  "a network such as 10.244.0.0/16, without host bits",
);

export const macSchema = parsed<Mac>(parseMac, "a MAC address of six octets");

// RFC 1123 label, and labels joined by dots: what Kubernetes takes as an object's name.
const label = "[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?";
const labelPattern = new RegExp(`^${label}$`);
const namePattern = new RegExp(`^${label}(?:\\.${label})*$`);

export const isDnsLabel = (text: string): boolean => labelPattern.test(text);

export const dnsLabelSchema = parsed(
  (text) => (isDnsLabel(text) ? text : undefined),
  "up to 63 lower-case letters, digits and -",
);

export const isDnsName = (text: string): boolean => text.length <= 253 && namePattern.test(text);

export const dnsNameSchema = parsed(
  (text) => (isDnsName(text) ? text : undefined),
  "a name of lower-case letters, digits, - and .",
);

/** A whole number, bounds included. */
export const wholeNumber = (least: number, most: number) => {
  const expected = `a whole number from ${least} to ${most}`;
  return v.pipe(
    v.number(expected),
    v.check((n) => Number.isInteger(n) && n >= least && n <= most, expected),
  );
};

export const portSchema = wholeNumber(1, 65_535);

/** One of these words. */
export const oneOf = <const T extends readonly [string, ...string[]]>(words: T) =>
  v.picklist(words, listWords(words, "or"));

/** `a, b or c`. */
export const listWords = (words: readonly string[], conjunction: "and" | "or"): string =>
  words.length < 2
    ? words.join("")
    : `${words.slice(0, -1).join(", ")} ${conjunction} ${words.at(-1) ?? ""}`;
