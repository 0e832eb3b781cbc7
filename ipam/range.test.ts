import { describe, expect, test } from "vitest";
import type { RangeConf } from "../core/cni/types.ts";
import { cidr, ip } from "../test/support/builders.ts";
import {
  canonicalRange,
  canonicalSets,
  nodeRanges,
  rangeContains,
  rangeOf,
  setSize,
} from "./range.ts";

/** `subnet`, `subnet start-end` or `subnet start-end gateway`; `-` leaves the default. */
const range = (text: string): RangeConf => {
  const [subnet = "", bounds = "-", gateway] = text.split(" ");
  const [start, end] = bounds.split("-");
  return {
    subnet: cidr(subnet),
    ...(start && { rangeStart: ip(start) }),
    ...(end && { rangeEnd: ip(end) }),
    ...(gateway && { gateway: ip(gateway) }),
  };
};
const sets = (...texts: readonly (readonly string[])[]): RangeConf[][] =>
  texts.map((set) => set.map(range));

describe("canonicalRange()", () => {
  test.each([
    ["hl-conf-01", "10.1.2.0/24 10.1.2.9-10.1.2.20 10.1.2.30", "10.1.2.9 to 10.1.2.20, 10.1.2.30"],
    ["hl-conf-22", "10.0.0.0/30", "10.0.0.1 to 10.0.0.2, 10.0.0.1"],
    ["hl-conf-22", "fd00::/126", "fd00::1 to fd00::3, fd00::1"],
    ["hl-conf-24", "192.0.2.0/24", "192.0.2.1 to 192.0.2.254, 192.0.2.1"],
    ["hl-conf-25", "192.0.2.0/25", "192.0.2.1 to 192.0.2.126, 192.0.2.1"],
    [
      "hl-conf-30",
      "192.0.2.0/24 192.0.2.40-192.0.2.50 192.0.2.254",
      "192.0.2.40 to 192.0.2.50, 192.0.2.254",
    ],
    ["hl-conf-43", "192.0.2.0/24 192.0.2.0-192.0.2.255", "192.0.2.0 to 192.0.2.255, 192.0.2.1"],
    ["all of IPv6", "::/0", "::1 to ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff, ::1"],
  ])("%s: %s is %s", (_id, text, expected) => {
    const { start, end, gateway } = canonicalRange(range(text));
    expect(`${start} to ${end}, ${gateway}`).toBe(expected);
  });

  test.each([
    [
      "hl-conf-21",
      "192.0.2.1/32",
      'subnet "192.0.2.1/32" as a range: it is too small, expected a prefix of at most /30',
    ],
    ["hl-conf-21", "192.0.2.0/31", "too small"],
    ["hl-conf-21", "fd00::/127", "at most /126"],
    ["hl-conf-21", "fd00::/128", "too small"],
    [
      "hl-conf-27",
      "192.0.2.0/24 192.0.3.0-",
      'rangeStart "192.0.3.0": it is not in the subnet 192.0.2.0/24',
    ],
    ["hl-conf-28", "192.0.2.0/24 -192.0.4.0", 'rangeEnd "192.0.4.0"'],
    ["start of the other family", "192.0.2.0/24 fd00::1-", 'rangeStart "fd00::1"'],
    [
      "reversed",
      "192.0.2.0/24 192.0.2.9-192.0.2.5",
      'rangeStart "192.0.2.9": it is after rangeEnd "192.0.2.5"',
    ],
    ["gateway of the other family", "192.0.2.0/24 - fd00::1", 'gateway "fd00::1"'],
  ])("%s: refuses %s", (_id, text, message) => {
    expect(() => canonicalRange(range(text))).toThrow(message);
  });

  test("hl-conf-31: membership", () => {
    const fortyToFifty = canonicalRange(range("192.0.2.0/24 192.0.2.40-192.0.2.50"));
    const members = ["192.0.2.39", "192.0.2.40", "192.0.2.50", "192.0.2.51", "192.0.3.45", "::1"];
    expect(members.map((text) => rangeContains(fortyToFifty, ip(text)))).toEqual([
      false,
      true,
      true,
      false,
      false,
      false,
    ]);
  });
});

describe("canonicalSets()", () => {
  test.each([
    ["hl-conf-34", sets(["10.0.0.0/24", "10.0.1.0/24"])],
    ["hl-conf-36", sets(["0.0.0.0/24"], ["::/24"])],
    ["hl-conf-37", sets(["10.0.0.0/24 -10.0.0.127", "10.0.0.0/24 10.0.0.128-"])],
    ["two sets share a subnet", sets(["10.0.0.0/24 -10.0.0.127"], ["10.0.0.0/24 10.0.0.128-"])],
  ])("%s: accepts", (_id, confs) =>
    expect(canonicalSets({ ranges: confs })).toHaveLength(confs.length),
  );

  test.each([
    [
      "hl-conf-12",
      sets(["10.1.0.0/22", "10.1.2.0/24"]),
      "overlapping ranges in range set 0: 10.1.0.1-10.1.3.254 of 10.1.0.0/22 and 10.1.2.1-",
    ],
    [
      "hl-conf-13",
      sets(["10.1.0.0/22", "fd00::/64"]),
      "range set 0: 10.1.0.0/22 is IPv4 and fd00::/64 is IPv6",
    ],
    ["hl-conf-40", [], "none is configured"],
    ["an empty set", sets(["10.1.0.0/22"], []), "range set 1: it has no range"],
    [
      "overlap between sets",
      sets(["10.1.0.0/22"], ["10.1.2.0/24"]),
      "overlapping ranges in two range sets",
    ],
    ["twice the same", sets(["10.1.0.0/22", "10.1.0.0/22"]), "overlapping"],
  ])("%s: refuses", (_id, confs, message) => {
    expect(() => canonicalSets({ ranges: confs })).toThrow(message);
  });

  test("hl-conf-33: membership of a set of two subnets", () => {
    const [set] = canonicalSets({ ranges: sets(["192.168.0.0/24", "172.16.1.0/24"]) });
    expect(rangeOf(set!, ip("192.168.0.55"))).toBe(set![0]);
    expect(rangeOf(set!, ip("192.168.99.99"))).toBeUndefined();
  });
});

test.each([
  [["10.244.1.0/24"], 253n],
  [["10.0.0.0/24 10.0.0.10-10.0.0.20"], 11n],
  [["10.0.0.0/24 -10.0.0.127", "10.0.0.0/24 10.0.0.128-"], 253n],
  [["fd00::/64"], (1n << 64n) - 2n],
])("setSize() of %j is %i", (texts, size) => {
  expect(setSize(canonicalSets({ ranges: sets(texts) })[0]!)).toBe(size);
});

test("setSize() counts what is withheld once, and only inside", () => {
  const withheld = [
    ["10.244.0.250", "10.244.1.9"],
    ["10.244.1.5", "10.244.1.19"],
    ["10.244.1.200", "10.244.1.200"],
    ["fd00::", "fd00::ff"],
  ].map(([first, last]) => ({ first: ip(first!), last: ip(last!), reason: "reserved" as const }));
  const [set] = canonicalSets({ ranges: sets(["10.244.1.0/24"]), withheld });
  expect(setSize(set!)).toBe(254n - 19n - 1n);
});

test("nodeRanges() gives a set per family and leaves out the first two addresses", () => {
  const confs = nodeRanges([cidr("10.244.1.0/24"), cidr("fd00:1::/64"), cidr("10.244.9.0/24")]);
  const canonical = canonicalSets({ ranges: confs });
  expect(canonical.map((set) => set.map((one) => one.subnet))).toEqual([
    ["10.244.1.0/24", "10.244.9.0/24"],
    ["fd00:1::/64"],
  ]);
  expect(canonical.flat().map((one) => [one.start, one.gateway])).toEqual([
    ["10.244.1.1", "10.244.1.1"],
    ["10.244.9.1", "10.244.9.1"],
    ["fd00:1::1", "fd00:1::1"],
  ]);
});

test("canonicalSets() of the same ranges follows what is withheld, the pool and the place", () => {
  const ranges = sets(["10.244.1.0/24"]);
  const withheld = [
    { first: ip("10.244.1.9"), last: ip("10.244.1.9"), reason: "reserved" as const },
  ];
  const plain = canonicalSets({ ranges });
  expect(canonicalSets({ ranges })).toBe(plain);
  expect(canonicalSets({ ranges, withheld })[0]![0]!.excluded).toHaveLength(2);
  expect(canonicalSets({ ranges, pool: "db" })[0]![0]!.pool).toBe("db");
  expect(canonicalSets({ ranges, firstPlace: 10 })[0]![0]!.place).toBe(10);
  expect(canonicalSets({ ranges })).toEqual(plain);
});
