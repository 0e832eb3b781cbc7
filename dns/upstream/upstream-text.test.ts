import { describe, expect, test } from "vitest";
import { formatUpstream, parseUpstream } from "./upstream-text.ts";

describe("parseUpstream()", () => {
  test.each([
    ["192.0.2.53", { address: "192.0.2.53", port: 53 }],
    ["192.0.2.53:5353", { address: "192.0.2.53", port: 5353 }],
    ["2001:db8::53", { address: "2001:db8::53", port: 53 }],
    ["[2001:db8::53]:5353", { address: "2001:db8::53", port: 5353 }],
    ["tls://192.0.2.53", { address: "192.0.2.53", port: 853, tls: {} }],
    [
      "tls://192.0.2.53#dns.example",
      { address: "192.0.2.53", port: 853, tls: { serverName: "dns.example" } },
    ],
    [
      "tls://[2001:db8::53]:8853#dns.example",
      { address: "2001:db8::53", port: 8853, tls: { serverName: "dns.example" } },
    ],
  ])("reads %s", (text, upstream) => {
    expect(parseUpstream(text)).toEqual(upstream);
  });

  test.each([
    "",
    "dns.example",
    "192.0.2.53:0",
    "192.0.2.53:65536",
    "192.0.2.53#dns.example",
    "tls://dns.example",
    "tls://192.0.2.53#",
    "tls://192.0.2.53#-",
    "https://192.0.2.53/dns-query",
  ])("does not take %j", (text) => {
    expect(parseUpstream(text)).toBeUndefined();
  });
});

test.each(["192.0.2.53:53", "[2001:db8::53]:53", "tls://192.0.2.53:853"])(
  "formatUpstream() gives back %s",
  (text) => {
    expect(formatUpstream(parseUpstream(text)!)).toBe(text);
  },
);
