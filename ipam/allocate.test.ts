import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ipFromBigInt } from "../core/address.ts";
import { cidr, ip } from "../test/support/builders.ts";
import { takenAddresses } from "./address-set.ts";
import { allocateNext, allocateRequested } from "./allocate.ts";
import { type RangeSet, canonicalSets } from "./range.ts";

const setOf = (...subnets: readonly string[]): RangeSet =>
  canonicalSets({ ranges: [subnets.map((subnet) => ({ subnet: cidr(subnet) }))] })[0]!;
const explicitSet = (...bounds: readonly (readonly [string, string, string])[]): RangeSet =>
  canonicalSets({
    ranges: [
      bounds.map(([subnet, start, end]) => ({
        subnet: cidr(subnet),
        rangeStart: ip(start),
        rangeEnd: ip(end),
      })),
    ],
  })[0]!;
const next = (set: RangeSet, held: readonly string[], last?: string): string => {
  const result = allocateNext(
    set,
    takenAddresses(held.map(ip)),
    last === undefined ? undefined : ip(last),
  );
  return result.kind === "leased" ? result.address : result.kind;
};
/** Takes addresses until there are none: the order in which they are given. */
const drain = (set: RangeSet, last?: string): string[] => {
  const given: string[] = [];
  for (;;) {
    const address = next(set, given, given.at(-1) ?? last);
    if (address === "exhausted") return given;
    given.push(address);
  }
};
const lastOctets = (addresses: readonly string[]): string =>
  addresses.map((address) => address.split(".").at(-1)).join(" ");

describe("allocateNext()", () => {
  const eight = setOf("10.0.0.0/29");

  test("hl-alloc-01: gives 2 to 6 of a /29, neither ends nor gateway", () =>
    expect(lastOctets(drain(setOf("192.168.1.0/29")))).toBe("2 3 4 5 6"));
  test("hl-alloc-03: goes on after the last reserved address and wraps", () =>
    expect(lastOctets(drain(setOf("192.168.1.0/29"), "192.168.1.3"))).toBe("4 5 6 2 3"));

  interface Case {
    readonly id: string;
    readonly set?: RangeSet;
    readonly held?: readonly string[];
    readonly last?: string;
    readonly gives: string;
  }
  const twoToSix = ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"];
  const withEnds = explicitSet(
    ["192.168.1.0/29", "192.168.1.0", "192.168.1.3"],
    ["192.168.2.0/29", "192.168.2.0", "192.168.2.3"],
  );
  const threeSubnets = setOf("10.0.0.0/30", "10.0.1.0/30", "10.0.2.0/30");
  const onlyGateway = explicitSet(["10.0.0.0/29", "10.0.0.1", "10.0.0.1"]);
  test.each<Case>([
    { id: "hl-alloc-04", gives: "10.0.0.2" },
    { id: "hl-alloc-06", set: setOf("10.0.0.0/30"), gives: "10.0.0.2" },
    { id: "hl-alloc-07", held: ["10.0.0.2"], gives: "10.0.0.3" },
    { id: "hl-alloc-09", held: ["10.0.0.4", "10.0.0.5"], last: "10.0.0.3", gives: "10.0.0.6" },
    { id: "hl-alloc-10", held: ["10.0.0.6"], last: "10.0.0.5", gives: "10.0.0.2" },
    {
      id: "hl-alloc-12",
      held: twoToSix.filter((address) => address !== "10.0.0.3"),
      last: "10.0.0.3",
      gives: "10.0.0.3",
    },
    { id: "hl-alloc-13", set: setOf("10.0.0.0/30", "10.0.1.0/30"), gives: "10.0.0.2" },
    { id: "hl-alloc-15", set: threeSubnets, last: "10.0.2.2", gives: "10.0.0.2" },
    { id: "hl-alloc-16", set: withEnds, last: "192.168.1.3", gives: "192.168.2.0" },
    { id: "hl-alloc-18", set: setOf("10.0.0.0/30"), held: ["10.0.0.2"], gives: "exhausted" },
    { id: "hl-alloc-19", held: twoToSix, gives: "exhausted" },
    { id: "hl-alloc-39", set: onlyGateway, gives: "exhausted" },
    { id: "hl-disk-12, last outside the set", last: "10.9.9.9", gives: "10.0.0.2" },
    { id: "last of the other family", last: "fd00::7", gives: "10.0.0.2" },
  ])("$id: gives $gives", ({ set = eight, held = [], last, gives }) =>
    expect(next(set, held, last)).toBe(gives),
  );

  test("hl-alloc-43: carries over the 16-bit groups of IPv6", () =>
    expect(drain(explicitSet(["fd00::/64", "fd00::ffff", "fd00::1:1"]))).toEqual([
      "fd00::ffff",
      "fd00::1:0",
      "fd00::1:1",
    ]));

  test("skips the gateway of another range of the set", () => {
    const subnet = cidr("10.0.0.0/24");
    const range = (rangeStart: string, rangeEnd: string, gateway: string) => ({
      subnet,
      rangeStart: ip(rangeStart),
      rangeEnd: ip(rangeEnd),
      gateway: ip(gateway),
    });
    const conf = [
      range("10.0.0.2", "10.0.0.4", "10.0.0.9"),
      range("10.0.0.8", "10.0.0.9", "10.0.0.3"),
    ];
    expect(lastOctets(drain(canonicalSets({ ranges: [conf] })[0]!))).toBe("2 4 8");
  });

  test("skips what is withheld, however much of it there is", () => {
    const set = (subnet: string, ...spans: readonly (readonly [string, string])[]) =>
      canonicalSets({
        ranges: [[{ subnet: cidr(subnet) }]],
        withheld: spans.map(([first, last]) => ({
          first: ip(first),
          last: ip(last),
          reason: "reserved",
        })),
      })[0]!;
    const few = set("10.0.0.0/28", ["10.0.0.3", "10.0.0.5"], ["10.0.0.5", "10.0.0.9"]);
    expect(lastOctets(drain(few))).toBe("2 10 11 12 13 14");
    expect(lastOctets(drain(set("10.0.0.0/29", ["10.0.0.4", "10.0.9.0"])))).toBe("2 3");
    expect(drain(set("10.0.0.0/29", ["10.0.0.0", "10.0.0.255"]))).toEqual([]);
    const half = set("fd00::/64", ["fd00::", "fd00::7fff:ffff:ffff:ffff"]);
    expect(next(half, [])).toBe("fd00::8000:0:0:0");
  });

  test("gives every address once, in the order of the slow, obvious walk", () => {
    const bounds = fc.tuple(fc.integer({ min: 0, max: 15 }), fc.integer({ min: 0, max: 15 }));
    fc.assert(
      fc.property(
        fc.array(bounds, { minLength: 1, maxLength: 3 }),
        fc.uniqueArray(fc.integer({ min: 0, max: 47 })),
        fc.option(fc.integer({ min: 0, max: 47 }), { nil: undefined }),
        (pairs, heldOffsets, lastOffset) => {
          const set = explicitSet(
            ...pairs.map(([a, b], i): [string, string, string] => [
              `10.0.${i}.0/28`,
              `10.0.${i}.${Math.min(a, b)}`,
              `10.0.${i}.${Math.max(a, b)}`,
            ]),
          );
          const address = (offset: number): string => `10.0.${offset >> 4}.${offset & 15}`;
          const held = heldOffsets.map(address);
          const last = lastOffset === undefined ? undefined : address(lastOffset);
          expect(next(set, held, last)).toBe(walk(set, held, last));
        },
      ),
    );
  });

  test("is as quick in a /64 with 100,000 held as in an empty one", () => {
    const set = setOf("fd00::/64");
    const held = Array.from({ length: 100_000 }, (_, i) =>
      ipFromBigInt((0xfd00n << 112n) + BigInt(i + 2), 6),
    );
    const taken = takenAddresses(held);
    // The processor's time: others may have it in between.
    const before = process.threadCpuUsage();
    for (let i = 0; i < 1000; i++) allocateNext(set, taken);
    const { user, system } = process.threadCpuUsage(before);
    expect((user + system) / 1000).toBeLessThan(500);
    expect(allocateNext(set, taken)).toMatchObject({ address: "fd00::1:86a2" });
  });
});

describe("allocateRequested()", () => {
  const set = setOf("10.1.2.0/24");
  test.each([
    ["10.1.2.88", { kind: "leased", address: "10.1.2.88" }],
    ["10.1.2.1", { kind: "conflict", reason: "gateway" }],
    ["10.1.2.5", { kind: "conflict", reason: "held" }],
  ])("%s", (address, expected) => {
    const taken = takenAddresses([ip("10.1.2.5")]);
    expect(allocateRequested(set, taken, ip(address))).toMatchObject(expected);
  });
});

// host-local's iterator as a list: every address of the set, from the one after the last.
function walk(set: RangeSet, held: readonly string[], last: string | undefined): string {
  const all = set.flatMap((range) =>
    Array.from({ length: Number(range.last - range.first) + 1 }, (_, i) => {
      const [a, b, c, d] = range.start.split(".").map(Number);
      return `${a}.${b}.${c}.${d! + i}`;
    }),
  );
  const gateways = new Set<string>(set.map((range) => range.gateway));
  const start = last === undefined ? 0 : all.indexOf(last) + 1;
  const order = [...all.slice(start), ...all.slice(0, start)];
  return order.find((one) => !held.includes(one) && !gateways.has(one)) ?? "exhausted";
}
