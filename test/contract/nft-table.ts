// A table for the contract suites, and how to see that it is there.
import { expect } from "vitest";
import { type NftRule, type NftTable, asObserved, formatNftTable } from "../../core/nft.ts";
import { cidr, ip } from "../support/builders.ts";
import type { Scene } from "./kernels.ts";

export const masquerade: NftRule = {
  statements: [
    { kind: "match-set", field: "saddr", family: 4, set: "pods4", isInverted: false },
    { kind: "match-set", field: "daddr", family: 4, set: "pods4", isInverted: true },
    { kind: "match-interface", field: "oifname", name: "lo", isInverted: true },
    { kind: "masquerade", fullyRandom: true },
  ],
  comment: "pods to the outside",
};

/** One of every set shape, hook and statement. */
export const table: NftTable = {
  name: "fairlead",
  sets: [
    {
      name: "pods4",
      family: 4,
      elements: [
        cidr("10.244.0.0/16"),
        cidr("10.244.7.0/24"),
        cidr("10.0.0.0/25"),
        cidr("10.0.0.128/25"),
        ip("192.0.2.1"),
        cidr("0.0.0.0/8"),
        cidr("224.0.0.0/3"),
      ],
    },
    {
      name: "pods6",
      family: 6,
      elements: [cidr("fd00::/64"), ip("2001:db8::1"), cidr("ff00::/8")],
    },
    { name: "none6", family: 6, elements: [] },
  ],
  maps: [
    {
      name: "ports4",
      key: ["inet_proto", "inet_service"],
      value: ["ipv4_addr", "inet_service"],
      elements: [
        { key: ["tcp", 8080], value: [ip("10.244.1.2"), 80] },
        { key: ["udp", 8080], value: [ip("10.244.1.2"), 81] },
        { key: ["sctp", 65535], value: [ip("10.244.1.3"), 1] },
      ],
    },
    {
      name: "ports6-at",
      key: ["ipv6_addr", "inet_proto", "inet_service"],
      value: ["ipv6_addr", "inet_service"],
      elements: [{ key: [ip("2001:db8::1"), "tcp", 53], value: [ip("fd00::2"), 5353] }],
    },
    {
      name: "pairs6",
      key: ["ipv6_addr", "ipv6_addr"],
      value: [],
      elements: [{ key: [ip("fd00::2"), ip("fd00::2")], value: [] }],
    },
    { name: "pairs4", key: ["ipv4_addr", "ipv4_addr"], value: [], elements: [] },
  ],
  chains: [
    {
      name: "ports",
      rules: [
        {
          statements: [
            { kind: "match-local", field: "daddr" },
            { kind: "dnat-to-map", family: 4, key: ["l4proto", "dport"], map: "ports4" },
          ],
          comment: "all addresses",
        },
        {
          statements: [
            {
              kind: "dnat-to-map",
              family: 6,
              key: ["daddr", "l4proto", "dport"],
              map: "ports6-at",
            },
          ],
          comment: "one address",
        },
      ],
    },
    {
      name: "ports-in",
      hook: { type: "nat", hook: "prerouting", priority: -100 },
      rules: [{ statements: [{ kind: "jump", chain: "ports" }], comment: "" }],
    },
    {
      name: "ports-back",
      hook: { type: "nat", hook: "postrouting", priority: 100 },
      rules: [
        {
          statements: [
            { kind: "match-interface", field: "oifname", name: "fl*", isInverted: false },
            { kind: "match-key", family: 6, key: ["saddr", "daddr"], map: "pairs6" },
            { kind: "masquerade", fullyRandom: false },
          ],
          comment: "",
        },
        {
          statements: [
            { kind: "match-key", family: 4, key: ["saddr", "daddr"], map: "pairs4" },
            { kind: "drop" },
          ],
          comment: "",
        },
        {
          statements: [{ kind: "match-source-translated" }, { kind: "return" }],
          comment: "",
        },
      ],
    },
    {
      name: "postrouting",
      hook: { type: "nat", hook: "postrouting", priority: 100 },
      rules: [
        masquerade,
        {
          statements: [
            { kind: "match-set", field: "saddr", family: 6, set: "pods6", isInverted: false },
            { kind: "masquerade", fullyRandom: false },
          ],
          comment: "",
        },
      ],
    },
    {
      name: "untracked",
      hook: { type: "filter", hook: "prerouting", priority: -300 },
      rules: [
        {
          statements: [
            { kind: "match-interface", field: "iifname", name: "eth0", isInverted: false },
            { kind: "match-port", protocol: "udp", port: 4789 },
            { kind: "notrack" },
          ],
          comment: "outer packets",
        },
        {
          statements: [
            { kind: "match-port", field: "sport", port: 53 },
            { kind: "match-interface-index", field: "iif", index: 1, name: "lo" },
            { kind: "match-network", field: "daddr", network: cidr("127.0.0.0/8") },
            { kind: "return" },
          ],
          comment: "",
        },
        {
          statements: [
            { kind: "match-network", field: "saddr", network: cidr("::1/128") },
            { kind: "return" },
          ],
          comment: "",
        },
      ],
    },
    {
      name: "input",
      hook: { type: "filter", hook: "input", priority: 7 },
      rules: [
        {
          statements: [{ kind: "match-port", protocol: "tcp", port: 53 }, { kind: "return" }],
          comment: "dns",
        },
      ],
    },
    { name: "extra", rules: [{ statements: [{ kind: "return" }], comment: "" }] },
  ],
};

/** nft breaks long lists of elements, and has a map's in the kernel's order: neither says anything. */
export const normal = (text: string): string =>
  text
    .replaceAll(/,\n\s+/g, ", ")
    .replaceAll(/elements = \{ (.*) \}/g, (_, list: string) => list.split(", ").sort().join(", "));

/** The kernel observes this table; with Linux, nft lists it. */
export function expectTable({ kernel, run }: Scene, wanted: NftTable): void {
  expect(kernel.observeNft(wanted.name)).toEqual(asObserved(wanted));
  if (run === undefined) return;
  expect(normal(run("nft", "list", "table", "inet", wanted.name))).toBe(
    normal(formatNftTable(wanted)),
  );
}
