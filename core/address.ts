import { isIPv4, isIPv6 } from "node:net";

declare const brand: unique symbol;
type Brand<Name extends string> = { readonly [brand]: Name };

/** Dotted decimal, canonical: `10.244.1.7`. */
export type Ipv4 = string & Brand<"Ipv4">;
/** RFC 5952 text, canonical: `fd00:10:244::7`. */
export type Ipv6 = string & Brand<"Ipv6">;
export type Ip = Ipv4 | Ipv6;
/** A network: canonical address with no host bits, and its prefix: `10.244.1.0/24`, `fd00::/64`. */
export type Cidr = string & Brand<"Cidr">;
/** Six octets, lower case, colons: `0a:58:0a:f4:01:07`. */
export type Mac = string & Brand<"Mac">;

export type Family = 4 | 6;

/** An address with the prefix of its network: what an interface carries, and CNI's `ips[].address`. */
export interface InterfaceCidr {
  readonly address: Ip;
  readonly prefixLength: number;
}

const bitsOf = (family: Family): number => (family === 4 ? 32 : 128);

/**
 * Canonical address, or undefined when the text is none. No zone, no leading zeros, no prefix. An
 * IPv4-mapped IPv6 address is IPv4 (as Go, and so every CNI peer, has it).
 */
export function parseIp(text: string): Ip | undefined {
  if (isIPv4(text)) return brandIp(text);
  if (!isIPv6(text) || text.includes("%")) return undefined;
  return ipFromBytes(ipv6ToBytes(text));
}

export const isIpv4 = (ip: Ip): ip is Ipv4 => !ip.includes(":");

export function familyOf(addressOrCidr: Ip | Cidr): Family {
  // Of an IPv4 address the first dot is near, and of an IPv6 one the first colon.
  for (let i = 0; i < addressOrCidr.length; i++) {
    const code = addressOrCidr.charCodeAt(i);
    if (code === 0x2e) return 4;
    if (code === 0x3a) return 6;
  }
  return 4;
}

/** 4 or 16 octets, network order. */
export function ipToBytes(ip: Ip): Uint8Array {
  return isIpv4(ip) ? ipv4ToBytes(ip) : ipv6ToBytes(ip);
}

/** How many octets {@link writeIp} writes. */
export const ipLength = (ip: Ip): number => (isIpv4(ip) ? 4 : 16);

/** As {@link ipToBytes}, into `octets`: for ten thousand messages at once. */
export function writeIp(ip: Ip, octets: Uint8Array, at: number): void {
  if (isIpv4(ip)) writeIpv4(ip, octets, at);
  else octets.set(ipv6ToBytes(ip), at);
}

/** The address of 4 or 16 octets; 16 octets of an IPv4-mapped address give IPv4. */
export function ipFromBytes(bytes: Uint8Array): Ip {
  if (bytes.length === 4) return ipv4FromNumber(numberOf(bytes));
  if (bytes.length !== 16)
    throw new RangeError(`An address has 4 or 16 octets, not ${bytes.length}`);
  const mapped =
    bytes.subarray(0, 10).every((octet) => octet === 0) && bytes[10] === 0xff && bytes[11] === 0xff;
  return mapped ? ipFromBytes(bytes.subarray(12)) : brandIp(formatIpv6(bytes));
}

/** The address as a number, for arithmetic within its family. */
export function ipToBigInt(ip: Ip): bigint {
  if (isIpv4(ip)) return BigInt(ipv4ToNumber(ip));
  let value = 0n;
  for (const octet of ipToBytes(ip)) value = (value << 8n) | BigInt(octet);
  return value;
}

/** The address of a number; throws RangeError outside the family's space. */
export function ipFromBigInt(value: bigint, family: Family): Ip {
  if (value < 0n || value >> BigInt(bitsOf(family)) !== 0n) {
    throw new RangeError(`No IPv${family} address has the value ${value}`);
  }
  if (family === 4) return ipv4FromNumber(Number(value));
  const bytes = new Uint8Array(16);
  let rest = value;
  for (let i = bytes.length - 1; i >= 0; i--) {
    bytes[i] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  // Not ipFromBytes: arithmetic that lands in ::ffff:0:0/96 must stay in its family.
  return brandIp(formatIpv6(bytes));
}

const ipv4FromNumber = (value: number): Ip => brandIp(made(putIpv4(value)));

/** Of four octets, network order. */
function numberOf(bytes: Uint8Array): number {
  let value = 0;
  for (let i = 0; i < 4; i++) value = (value << 8) | (bytes[i] ?? 0);
  return value;
}

// A text is made octet by octet. Joined of its pieces it would leave ten times its own size as garbage, and
// each comparison of a large cluster has 25,000.
const making = Buffer.alloc(Math.max("255.255.255.255/32".length, "00:00:00:00:00:00".length));

const made = (length: number): string => making.toString("latin1", 0, length);

/** Gives the length of the text. */
function putIpv4(value: number): number {
  let at = 0;
  for (let shift = 24; shift >= 0; shift -= 8) {
    at = putDecimal((value >>> shift) & 255, at);
    making[at++] = 0x2e;
  }
  return at - 1;
}

/** Of 0 to 255; gives where the text ends. */
function putDecimal(value: number, from: number): number {
  let at = from;
  if (value >= 100) making[at++] = 0x30 + Math.trunc(value / 100);
  if (value >= 10) making[at++] = 0x30 + (Math.trunc(value / 10) % 10);
  making[at++] = 0x30 + (value % 10);
  return at;
}

/** `address/prefix` with host bits kept, or undefined. The prefix is required. */
export function parseInterfaceCidr(text: string): InterfaceCidr | undefined {
  const [addressText, prefixText, ...rest] = text.split("/");
  if (addressText === undefined || prefixText === undefined || rest.length > 0) return undefined;
  const address = parseIp(addressText);
  if (address === undefined || !/^(0|[1-9]\d{0,2})$/.test(prefixText)) return undefined;
  // ::ffff:a.b.c.d counts as IPv4, but then a prefix of the 128-bit form has no clear meaning.
  if (isIpv4(address) !== isIPv4(addressText)) return undefined;
  const prefixLength = Number(prefixText);
  return prefixLength > bitsOf(familyOf(address)) ? undefined : { address, prefixLength };
}

export const formatInterfaceCidr = (cidr: InterfaceCidr): string =>
  `${cidr.address}/${cidr.prefixLength}`;

/** The network of `address/prefix` text; undefined when malformed or when host bits are set. */
export function parseCidr(text: string): Cidr | undefined {
  const parsed = parseInterfaceCidr(text);
  if (parsed === undefined) return undefined;
  const cidr = cidrOf(parsed.address, parsed.prefixLength);
  return cidrBase(cidr) === parsed.address ? cidr : undefined;
}

/** The network that an address belongs to: host bits are masked away. */
export function cidrOf(address: Ip, prefixLength: number): Cidr {
  const family = familyOf(address);
  if (!Number.isInteger(prefixLength) || prefixLength < 0 || prefixLength > bitsOf(family)) {
    throw new RangeError(`An IPv${family} prefix is 0 to ${bitsOf(family)}, not ${prefixLength}`);
  }
  if (family === 4) return cidrFromBytes(ipToBytes(address), prefixLength);
  const [base] = boundsOf(`${address}/${prefixLength}`);
  return brandCidr(`${ipFromBigInt(base, family)}/${prefixLength}`);
}

/** As {@link cidrOf}, from the 4 or 16 octets of the address: for ten thousand routes at once. */
export function cidrFromBytes(bytes: Uint8Array, prefixLength: number): Cidr {
  if (bytes.length === 4) {
    const mask = prefixLength === 0 ? 0 : -1 << (32 - prefixLength);
    const end = putIpv4(numberOf(bytes) & mask);
    making[end] = 0x2f;
    return brandCidr(made(putDecimal(prefixLength, end + 1)));
  }
  const masked = new Uint8Array(bytes);
  const whole = prefixLength >> 3;
  if (whole < masked.length) {
    masked.fill(0, whole + 1);
    masked[whole] = (masked[whole] ?? 0) & (0xff00 >> (prefixLength & 7));
  }
  return brandCidr(`${formatIpv6(masked)}/${prefixLength}`);
}

/** The network of this one address: /32 or /128. */
export const hostCidr = (address: Ip): Cidr => brandCidr(`${address}/${bitsOf(familyOf(address))}`);

export const cidrBase = (cidr: Cidr): Ip => brandIp(cidr.slice(0, cidr.indexOf("/")));

export function cidrPrefixLength(cidr: Cidr): number {
  let length = 0;
  for (let i = cidr.indexOf("/") + 1; i < cidr.length; i++) {
    length = length * 10 + cidr.charCodeAt(i) - 0x30;
  }
  return length;
}

/** How many addresses the network spans. */
export function cidrSize(cidr: Cidr): bigint {
  const [base, last] = boundsOf(cidr);
  return last - base + 1n;
}

/** The address at an offset from the base: 0n is the base. Throws RangeError outside the network. */
export function cidrAt(cidr: Cidr, offset: bigint): Ip {
  if (offset < 0n || offset >= cidrSize(cidr)) {
    throw new RangeError(`${cidr} has no address at offset ${offset}`);
  }
  return ipFromBigInt(ipToBigInt(cidrBase(cidr)) + offset, familyOf(cidr));
}

export const cidrLast = (cidr: Cidr): Ip => ipFromBigInt(boundsOf(cidr)[1], familyOf(cidr));

export function cidrContains(cidr: Cidr, inner: Ip | Cidr): boolean {
  const family = familyOf(cidr);
  if (family !== familyOf(inner)) return false;
  if (family === 4) {
    const length = cidrPrefixLength(cidr);
    const innerLength = isCidr(inner) ? cidrPrefixLength(inner) : 32;
    const difference = ipv4ToNumber(cidr) ^ ipv4ToNumber(inner);
    return length === 0 || (innerLength >= length && difference >>> (32 - length) === 0);
  }
  const [base, last] = boundsOf(cidr);
  const [innerBase, innerLast] = boundsOf(isCidr(inner) ? inner : hostCidr(inner));
  return base <= innerBase && innerLast <= last;
}

/** Two networks share an address exactly when one contains the other. */
export const cidrsOverlap = (a: Cidr, b: Cidr): boolean => cidrContains(a, b) || cidrContains(b, a);

/** Less than zero, zero, more than zero: by family, then by value. */
export function compareIps(a: Ip, b: Ip): number {
  if (familyOf(a) !== familyOf(b)) return familyOf(a) - familyOf(b);
  const difference = ipToBigInt(a) - ipToBigInt(b);
  return difference < 0n ? -1 : difference > 0n ? 1 : 0;
}

export function parseMac(text: string): Mac | undefined {
  const lower = text.toLowerCase();
  return /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/.test(lower) ? brandMac(lower) : undefined;
}

export function macToBytes(mac: Mac): Uint8Array {
  const bytes = new Uint8Array(6);
  writeMac(mac, bytes, 0);
  return bytes;
}

/** Its six octets. By hand, as with IPv4: each peer has its address and three messages. */
export function writeMac(mac: Mac, octets: Uint8Array, at: number): void {
  for (let i = 0; i < 6; i++) {
    octets[at + i] = (hexDigit(mac.charCodeAt(i * 3)) << 4) | hexDigit(mac.charCodeAt(i * 3 + 1));
  }
}

/** Of a lower-case digit's character code. */
const hexDigit = (code: number): number => (code < 0x3a ? code - 0x30 : code - 0x57);

export function macFromBytes(bytes: Uint8Array): Mac {
  if (bytes.length !== 6) throw new RangeError(`A MAC address has 6 octets, not ${bytes.length}`);
  for (let i = 0; i < 6; i++) {
    const octet = bytes[i] ?? 0;
    making[i * 3] = hexDigits.charCodeAt(octet >> 4);
    making[i * 3 + 1] = hexDigits.charCodeAt(octet & 15);
  }
  return madeMac();
}

const hexDigits = "0123456789abcdef";

/** Of twelve lower-case hexadecimal digits. */
export function macFromHex(digits: string): Mac {
  if (!/^[0-9a-f]{12}$/.test(digits))
    throw new RangeError(`No MAC address has the digits ${digits}`);
  for (let i = 0; i < 12; i++) making[i + (i >> 1)] = digits.charCodeAt(i);
  return madeMac();
}

/** Of the digits in their places. */
function madeMac(): Mac {
  for (let at = 2; at < 17; at += 3) making[at] = 0x3a;
  return brandMac(made(17));
}

export const isCidr = (value: Ip | Cidr): value is Cidr => value.includes("/");

function ipv4ToBytes(ip: Ipv4): Uint8Array {
  const bytes = new Uint8Array(4);
  writeIpv4(ip, bytes, 0);
  return bytes;
}

function writeIpv4(ip: Ipv4, octets: Uint8Array, from: number): void {
  let octet = 0;
  let at = from;
  for (let i = 0; i < ip.length; i++) {
    const code = ip.charCodeAt(i);
    if (code === 0x2e) {
      octets[at++] = octet;
      octet = 0;
    } else octet = octet * 10 + code - 0x30;
  }
  octets[at] = octet;
}

/** Of an IPv4 address, or of the one in front of a prefix: 0 to 2^32 - 1. */
export function ipv4ToNumber(text: Ip | Cidr): number {
  let value = 0;
  let octet = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === 0x2f) break;
    if (code === 0x2e) {
      value = (value << 8) | octet;
      octet = 0;
    } else octet = octet * 10 + code - 0x30;
  }
  return ((value << 8) | octet) >>> 0;
}

// First and last address of `address/prefix`; host bits are masked away. By hand, because every pod
// CIDR of the cluster comes through here at every change: ip-cidr takes 18 µs, this 1 µs. The test has
// ip-cidr as its judge.
function boundsOf(cidr: string): [bigint, bigint] {
  const slash = cidr.indexOf("/");
  const address = brandIp(cidr.slice(0, slash));
  const hostBits = BigInt(bitsOf(familyOf(address)) - Number(cidr.slice(slash + 1)));
  const base = (ipToBigInt(address) >> hostBits) << hostBits;
  return [base, base + (1n << hostBits) - 1n];
}

// Any valid text, RFC 4291 section 2.2: groups with at most one "::", the last two may be dotted.
function ipv6ToBytes(text: string): Uint8Array {
  const bytes = new Uint8Array(16);
  const [head = "", tail] = text.split("::");
  const octets = (part: string): number[] =>
    part === ""
      ? []
      : part.split(":").flatMap((group) => {
          if (group.includes(".")) return group.split(".").map(Number);
          const value = Number.parseInt(group, 16);
          return [value >> 8, value & 0xff];
        });
  bytes.set(octets(head), 0);
  if (tail !== undefined) {
    const last = octets(tail);
    bytes.set(last, 16 - last.length);
  }
  return bytes;
}

// RFC 5952 section 4: the longest run of two or more zero groups is "::", the first one at a tie.
function formatIpv6(bytes: Uint8Array): string {
  const groups = Array.from({ length: 8 }, (_, i) =>
    (((bytes[i * 2] ?? 0) << 8) | (bytes[i * 2 + 1] ?? 0)).toString(16),
  );
  let [runStart, runLength] = [-1, 1];
  for (let i = 0; i < 8; i++) {
    let length = 0;
    while (i + length < 8 && groups[i + length] === "0") length++;
    if (length > runLength) [runStart, runLength] = [i, length];
  }
  if (runStart < 0) return groups.join(":");
  return `${groups.slice(0, runStart).join(":")}::${groups.slice(runStart + runLength).join(":")}`;
}

// The only casts to the brands: each caller has just built or checked the canonical text.
// oxlint-disable typescript/no-unsafe-type-assertion
const brandIp = (text: string): Ip => text as Ip;
const brandCidr = (text: string): Cidr => text as Cidr;
const brandMac = (text: string): Mac => text as Mac;
// oxlint-enable typescript/no-unsafe-type-assertion
