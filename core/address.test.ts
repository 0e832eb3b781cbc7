import fc from "fast-check";
import IpCidr from "ip-cidr";
import { describe, expect, test } from "vitest";
import {
  cidrAt,
  cidrBase,
  cidrContains,
  cidrLast,
  cidrFromBytes,
  cidrOf,
  cidrPrefixLength,
  cidrSize,
  cidrsOverlap,
  compareIps,
  familyOf,
  ipFromBigInt,
  ipFromBytes,
  ipToBigInt,
  ipToBytes,
  macFromBytes,
  macToBytes,
  parseCidr,
  parseInterfaceCidr,
  parseIp,
  parseMac,
} from "./address.ts";

const anyIp = fc.oneof(
  fc.uint8Array({ minLength: 4, maxLength: 4 }).map(ipFromBytes),
  fc.uint8Array({ minLength: 16, maxLength: 16 }).map(ipFromBytes),
);
const cidr = (text: string) => {
  const parsed = parseCidr(text);
  if (parsed === undefined) throw new Error(`bad test CIDR ${text}`);
  return parsed;
};

describe("parseIp()", () => {
  test.each([
    ["10.9.0.7", "10.9.0.7"],
    ["::1", "::1"],
    ["::", "::"],
    ["2001:DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
    ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
    ["fd00:0010::0007", "fd00:10::7"],
    ["::ffff:10.1.2.3", "10.1.2.3"],
    ["::ffff:0a01:0203", "10.1.2.3"],
    ["64:ff9b::192.0.2.33", "64:ff9b::c000:221"],
  ])("reads %s as %s", (text, canonical) => expect(parseIp(text)).toBe(canonical));

  test.each([
    "",
    "10.9.0",
    "010.9.0.7",
    "10.9.0.256",
    "fe80::1%eth0",
    "1::2::3",
    "10.9.0.7/24",
    " ::1",
  ])("refuses %j", (text) => expect(parseIp(text)).toBeUndefined());

  test("keeps any address through octets, number and text", () => {
    fc.assert(
      fc.property(anyIp, (ip) => {
        expect(parseIp(ip)).toBe(ip);
        expect(ipFromBytes(ipToBytes(ip))).toBe(ip);
        expect(ipFromBigInt(ipToBigInt(ip), familyOf(ip))).toBe(ip);
      }),
    );
  });
});

describe("parseCidr()", () => {
  test.each(["10.244.0.0/16", "0.0.0.0/0", "::/0", "fd00:10:244::/56", "192.0.2.1/32"])(
    "takes the network %s",
    (text) => expect(parseCidr(text)).toBe(text),
  );

  test.each([
    "10.244.0.1/16",
    "10.244.0.0",
    "10.244.0.0/33",
    "10.244.0.0/016",
    "::1/64",
    "::/129",
    "::ffff:10.1.2.0/120",
    "x/8",
    "10.0.0.0/8/8",
  ])("refuses %j", (text) => expect(parseCidr(text)).toBeUndefined());
});

test("parseInterfaceCidr() keeps host bits", () => {
  expect(parseInterfaceCidr("10.9.0.7/24")).toEqual({ address: "10.9.0.7", prefixLength: 24 });
});

describe("a CIDR", () => {
  test("knows its size, its addresses and its end", () => {
    expect(cidrSize(cidr("10.244.1.0/24"))).toBe(256n);
    expect(cidrSize(cidr("::/0"))).toBe(1n << 128n);
    expect(cidrAt(cidr("10.244.1.0/24"), 7n)).toBe("10.244.1.7");
    expect(cidrLast(cidr("fd00::/64"))).toBe("fd00::ffff:ffff:ffff:ffff");
    expect(() => cidrAt(cidr("10.244.1.0/30"), 4n)).toThrow(RangeError);
  });

  test("contains addresses and networks of its own family", () => {
    const network = cidr("10.244.0.0/16");
    expect(cidrContains(network, cidr("10.244.3.0/24"))).toBe(true);
    expect(cidrContains(network, cidr("10.0.0.0/8"))).toBe(false);
    expect(cidrContains(cidr("::/0"), cidr("10.244.0.0/16"))).toBe(false);
    expect(cidrsOverlap(cidr("10.0.0.0/8"), network)).toBe(true);
    expect(cidrsOverlap(cidr("10.245.0.0/16"), network)).toBe(false);
  });

  test("has the bounds that ip-cidr finds", () => {
    fc.assert(
      fc.property(anyIp, fc.nat(128), (ip, length) => {
        const network = cidrOf(ip, Math.min(length, familyOf(ip) === 4 ? 32 : 128));
        const [base, last] = new IpCidr(network).toRange<bigint>({ type: "bigInteger" });
        expect(ipToBigInt(cidrBase(network))).toBe(base);
        expect(ipToBigInt(cidrLast(network))).toBe(last);
        expect(cidrSize(network)).toBe(last - base + 1n);
      }),
    );
  });

  test("that an address is masked to contains the address", () => {
    fc.assert(
      fc.property(anyIp, fc.nat(128), (ip, length) => {
        const network = cidrOf(ip, Math.min(length, familyOf(ip) === 4 ? 32 : 128));
        expect(cidrFromBytes(ipToBytes(ip), cidrPrefixLength(network))).toBe(network);
        expect(cidrContains(network, ip)).toBe(true);
        expect(parseCidr(network)).toBe(network);
      }),
    );
  });
});

test("compareIps() orders by family, then by value", () => {
  const ips = ["fd00::1", "10.0.0.10", "10.0.0.9"].map((text) => parseIp(text)!);
  expect(ips.sort(compareIps)).toEqual(["10.0.0.9", "10.0.0.10", "fd00::1"]);
});

test("parseMac() gives lower case, or undefined", () => {
  expect(parseMac("0A:58:0a:f4:01:07")).toBe("0a:58:0a:f4:01:07");
  expect(parseMac("0a:58:0a:f4:01")).toBeUndefined();
  expect(macFromBytes(macToBytes(parseMac("02:00:00:00:00:0f")!))).toBe("02:00:00:00:00:0f");
});

describe("arithmetic as host-local's ranges have it", () => {
  test.each([
    ["192.168.1.0", "192.168.0.255"],
    ["ab12::1:0", "ab12::ffff"],
  ])("hl-alloc-45: before %s is %s", (address, before) => {
    const given = parseIp(address)!;
    expect(ipFromBigInt(ipToBigInt(given) - 1n, familyOf(given))).toBe(before);
  });

  // Where host-local has a third outcome, malformed text is no address here, and families are apart.
  test("hl-alloc-46: families do not mix, and malformed text is not compared", () => {
    expect(compareIps(parseIp("255.255.255.255")!, parseIp("::")!)).toBeLessThan(0);
    expect(compareIps(parseIp("::")!, parseIp("255.255.255.255")!)).toBeGreaterThan(0);
    expect(cidrContains(cidr("::/0"), parseIp("192.0.2.1")!)).toBe(false);
    expect(parseIp("192.168.0")).toBeUndefined();
  });
});
