import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  foldName,
  formatName,
  joinName,
  labelsOf,
  type Name,
  nameOfLabels,
  nameProblem,
  parseName,
  labelsWithin,
  rootName,
} from "./name.ts";

/** Any legal name: labels of any octets. */
const anyName: fc.Arbitrary<Name> = fc
  .array(
    fc
      .uint8Array({ minLength: 1, maxLength: 63 })
      .map((octets) => Buffer.from(octets).toString("latin1")),
    { maxLength: 6 },
  )
  .map(nameOfLabels)
  .filter((name) => name !== undefined);

describe("parseName()", () => {
  test.each([
    ["www.example.com", "\x03www\x07example\x03com\0"],
    ["www.example.com.", "\x03www\x07example\x03com\0"],
    [".", "\0"],
    ["a\\.b.c", "\x03a.b\x01c\0"],
    ["\\000\\255.x", "\x02\0\xff\x01x\0"],
    ["_http._tcp.Web", "\x05_http\x04_tcp\x03Web\0"],
    ["192.0.2.7", "\x03192\x010\x012\x017\0"],
  ])("reads %s", (text, wire) => {
    expect(parseName(text)).toBe(wire);
  });

  test.each([
    "",
    "..",
    "a..b",
    ".a",
    "a\\",
    "a\\256",
    "ä.de",
    "a b",
    "x".repeat(64),
    "a.".repeat(128),
  ])("refuses %j", (text) => {
    expect(parseName(text)).toBeUndefined();
  });

  test("takes 63 octets in a label and 255 in a name, and no more", () => {
    const label = "x".repeat(63);
    const longest = [label, label, label, "y".repeat(61)];
    expect(parseName(longest.join("."))?.length).toBe(255);
    expect(parseName([...longest.slice(0, 3), "y".repeat(62)].join("."))).toBeUndefined();
  });

  test("reads back what formatName() writes, for any octets", () => {
    fc.assert(fc.property(anyName, (name) => parseName(formatName(name)) === name));
  });
});

describe("names", () => {
  test("labelsOf() and nameOfLabels() are inverse", () => {
    fc.assert(fc.property(anyName, (name) => nameOfLabels(labelsOf(name)) === name));
  });

  test("foldName() lowers A to Z and nothing else", () => {
    const name = nameOfLabels(["WwW\xc4\xdc[@", "CoM"]);
    expect(name && labelsOf(foldName(name))).toEqual(["www\xc4\xdc[@", "com"]);
  });

  test("labelsWithin() minds label borders", () => {
    const zone = parseName("corp.example")!;
    expect(labelsWithin(zone, zone)).toEqual([]);
    expect(labelsWithin(parseName("a.b.corp.example")!, zone)).toEqual(["a", "b"]);
    expect(labelsWithin(parseName("xcorp.example")!, zone)).toBeUndefined();
    expect(labelsWithin(parseName("example")!, zone)).toBeUndefined();
    expect(labelsWithin(parseName("a.example")!, rootName)).toEqual(["a", "example"]);
    // A label may end in octets that read like the zone.
    const inside = nameOfLabels(["x\x04corp\x07example"])!;
    expect(inside.endsWith(zone)).toBe(true);
    expect(labelsWithin(inside, zone)).toBeUndefined();
  });

  test("joinName() refuses what becomes too long", () => {
    const name = parseName(`${"x".repeat(63)}.`.repeat(3))!;
    expect(joinName(["a"], name)?.length).toBe(name.length + 2);
    expect(joinName(["y".repeat(62)], name)).toBeUndefined();
  });
});

describe("nameProblem()", () => {
  test.each([
    ["", "it is empty"],
    ["bücher.example", "beyond ASCII"],
    ["a..b", "empty label"],
    [".a", "empty label"],
    ["a b", "a space"],
    ["\\256", "wrong escape"],
    [`${"a".repeat(64)}.b`, "its label aaaaaaaaaaaaaaaa… has 64 octets: expected up to 63"],
    [`${"a".repeat(62)}.`.repeat(5), "it has 314 octets: expected up to 253"],
  ])("of %j", (text, problem) => {
    expect(parseName(text)).toBeUndefined();
    expect(nameProblem(text)).toContain(problem);
  });
});
