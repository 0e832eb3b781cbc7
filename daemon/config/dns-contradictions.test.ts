import { describe, expect, test } from "vitest";
import { parseConfig } from "./config.ts";

const messageOf = (dns: string): string => {
  try {
    parseConfig(`dns: { ${dns} }\n`, "f", { nodeName: "node-a" });
    return "";
  } catch (thrown) {
    return thrown instanceof Error ? thrown.message : String(thrown);
  }
};

const refused: readonly (readonly [string, string])[] = [
  ["addresses: [10.96.0.10, 10.96.0.10]", 'addresses[1] "10.96.0.10": expected each address once'],
  ['addresses: ["fd00::a", "FD00:0:0::A"]', 'addresses[1] "fd00::a": expected each address once'],
  ...[
    ["0.0.0.0", "0.0.0.0/8", "unspecified"],
    ["127.0.0.1", "127.0.0.0/8", "loopback"],
    ["224.0.0.1", "224.0.0.0/4", "multicast"],
    ["255.255.255.255", "255.255.255.255/32", "broadcast"],
    ["::", "::/128", "unspecified"],
    ["fe80::1", "fe80::/10", "link-local"],
    ["ff02::1", "ff00::/8", "multicast"],
  ].map(
    ([address, cidr, what]) =>
      [
        `addresses: ["${address}"]`,
        `addresses[0] "${address}": expected an address outside ${cidr}, which is ${what}`,
      ] as const,
  ),
  ...[
    ["0.0.0.0", "0.0.0.0/8 is unspecified"],
    ["224.0.0.1", "224.0.0.0/4 is multicast"],
    ["255.255.255.255", "255.255.255.255/32 is broadcast"],
    ["fe80::1", "fe80::/10 is link-local"],
  ].map(
    ([address, what]) =>
      [
        `upstreams: [192.0.2.1, "${address}"]`,
        `upstreams[1] "${address}": expected an address of one server: ${what}`,
      ] as const,
  ),
  [
    'stubs: { corp.example: ["::"] }',
    'stubs["corp.example"][0] "::": expected an address of one server: ::/128 is unspecified',
  ],
  [
    "upstreams: [192.0.2.1], forward: { ca: /ca.pem }",
    'forward.ca "/ca.pem": expected an upstream with tls:// in dns.upstreams or dns.stubs',
  ],
  [
    "cache: { minTtl: 300, maxTtl: 60 }",
    "cache.minTtl 300: expected 60 or less, as dns.cache.maxTtl says",
  ],
  [
    "rewrite: { a.example: a.example }",
    'rewrite["a.example"]: expected another name than the one it is for',
  ],
  ["stubs: [corp.example]", 'stubs ["corp.example"]: expected a mapping'],
  ["hosts: [a.example]", 'hosts ["a.example"]: expected a mapping'],
  ["ttls: [5]", "ttls [5]: expected a mapping"],
  ["rewrite: [a.example]", 'rewrite ["a.example"]: expected a mapping'],
  ["ttl: .nan", "ttl NaN: expected a whole number from 0 to 3600"],
  ["ttl: -.inf", "ttl -Infinity: expected a whole number from 0 to 3600"],
  ["log: { share: .nan }", "log.share NaN: expected a number from 0 to 1"],
];

describe("the part dns of fairlead.yaml", () => {
  test.each(refused)("%s is refused with its value and what would do", (dns, message) => {
    expect(messageOf(dns)).toBe(`f:1: Cannot use dns.${message}`);
  });

  test.each([
    // NodeLocal DNSCache's, a cloud's and the node's own.
    "addresses: [10.96.0.10, 169.254.20.10]",
    'upstreams: [169.254.169.253, 127.0.0.1, "::1"]',
    'stubs: { corp.example: ["tls://192.0.2.1"] }, forward: { ca: /ca.pem }',
    'upstreams: ["tls://192.0.2.1"], forward: { ca: /ca.pem }',
    "cache: { minTtl: 60, maxTtl: 60 }",
    "rewrite: { a.example: b.example, b.example: a.example }",
  ])("%s is taken", (dns) => {
    expect(messageOf(dns)).toBe("");
  });

  test("of what cannot be read nothing else is said", () => {
    const message = messageOf('upstreams: ["tls:/192.0.2.1"], forward: { ca: /ca.pem }');
    expect(message).toMatch(/^f:1: Cannot use dns\.upstreams\[0\] [^\n]*$/);
  });
});
