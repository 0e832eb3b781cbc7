import { expect, test } from "vitest";
import { ip } from "../../test/support/builders.ts";
import type { RecordData } from "./message.ts";
import { parseName } from "./name.ts";
import { parseType, rcodeText, recordText, typeText } from "./record-text.ts";

const name = parseName("a.example")!;

test.each<[number, RecordData, string]>([
  [28, { kind: "address", address: ip("fd00::1") }, "AAAA fd00::1"],
  [5, { kind: "name", name }, "CNAME a.example."],
  [33, { kind: "srv", priority: 0, weight: 50, port: 80, target: name }, "SRV 0 50 80 a.example."],
  [16, { kind: "txt", strings: ["1.1.0", 'x"y'] }, 'TXT "1.1.0" "x\\"y"'],
  [65_280, { kind: "opaque", octets: Uint8Array.of(1, 255) }, "TYPE65280 \\# 2 01ff"],
])("recordText() of type %i", (type, data, expected) => {
  expect(recordText({ name, type, class: 1, ttl: 5, data })).toBe(`a.example. 5 ${expected}`);
});

test("types and rcodes have their names, or numbers", () => {
  expect(["a", "AAAA", "https", "TYPE65", "type65280"].map(parseType)).toEqual([
    1, 28, 65, 65, 65_280,
  ]);
  expect(["", "X", "TYPE", "TYPE0", "TYPE65536", "TYPE1x"].map(parseType)).toEqual(
    Array(6).fill(undefined),
  );
  expect([typeText(33), typeText(1234), rcodeText(3), rcodeText(9)]).toEqual([
    "SRV",
    "TYPE1234",
    "NXDOMAIN",
    "RCODE9",
  ]);
});
