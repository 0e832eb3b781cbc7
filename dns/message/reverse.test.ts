import * as fc from "fast-check";
import { expect, test } from "vitest";
import { ipFromBytes, isIpv4 } from "../../core/address.ts";
import { formatName, parseName } from "./name.ts";
import {
  addressOfReverseName,
  locallyServedReverseZoneOf,
  privateReverseZoneOf,
  reverseNameOf,
} from "./reverse.ts";

test("reverseNameOf() and addressOfReverseName() are inverse", () => {
  const address = fc
    .oneof(
      fc.uint8Array({ minLength: 4, maxLength: 4 }),
      fc.uint8Array({ minLength: 16, maxLength: 16 }),
    )
    .map(ipFromBytes);
  fc.assert(fc.property(address, (ip) => addressOfReverseName(reverseNameOf(ip)) === ip));
});

test.each([
  "10.in-addr.arpa",
  "1.2.3.4.5.in-addr.arpa",
  "256.0.0.10.in-addr.arpa",
  "01.0.0.10.in-addr.arpa",
  "1.0.0.x.in-addr.arpa",
  "1.0.0.127.in-addr.arpa.example",
  `${"0.".repeat(31)}ip6.arpa`,
  `${"g.".repeat(32)}ip6.arpa`,
  // ::ffff:10.0.0.1 is not the name of 10.0.0.1.
  `1.0.0.0.0.0.a.0.f.f.f.f.${"0.".repeat(20)}ip6.arpa`,
  "in-addr.arpa",
])("addressOfReverseName() finds no address in %s", (name) => {
  expect(addressOfReverseName(parseName(name)!)).toBeUndefined();
});

test.each([
  ["1.1.168.192.in-addr.arpa", "168.192.in-addr.arpa", undefined],
  ["1.1.31.172.in-addr.arpa", "31.172.in-addr.arpa", undefined],
  ["1.1.32.172.in-addr.arpa", undefined, undefined],
  ["10.in-addr.arpa", "10.in-addr.arpa", undefined],
  ["1.1.254.169.in-addr.arpa", undefined, "254.169.in-addr.arpa"],
  ["8.8.8.8.in-addr.arpa", undefined, undefined],
  ["10.example", undefined, undefined],
])("%s is in the private zone %s and the local zone %s", (name, privateZone, localZone) => {
  const wire = parseName(name)!;
  const [inPrivate, inLocal] = [privateReverseZoneOf(wire), locallyServedReverseZoneOf(wire)];
  expect(inPrivate && formatName(inPrivate)).toBe(privateZone);
  expect(inLocal && formatName(inLocal)).toBe(localZone);
});

test("unique local addresses of IPv6 are private, link-local ones served here", () => {
  const at = (first: string): ReturnType<typeof parseName> => {
    const bytes = new Uint8Array(16);
    bytes.set(Buffer.from(first, "hex"));
    const ip = ipFromBytes(bytes);
    return isIpv4(ip) ? undefined : reverseNameOf(ip);
  };
  expect(formatName(privateReverseZoneOf(at("fd12")!)!)).toBe("d.f.ip6.arpa");
  expect(formatName(privateReverseZoneOf(at("fc00")!)!)).toBe("c.f.ip6.arpa");
  expect(formatName(locallyServedReverseZoneOf(at("fe80")!)!)).toBe("8.e.f.ip6.arpa");
  expect(formatName(locallyServedReverseZoneOf(at("20010db8")!)!)).toBe("8.b.d.0.1.0.0.2.ip6.arpa");
  expect(privateReverseZoneOf(at("2a00")!)).toBeUndefined();
});
