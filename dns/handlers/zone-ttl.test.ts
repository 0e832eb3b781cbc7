import { expect, test } from "vitest";
import { foldName, parseName } from "../message/name.ts";
import { ttlLookup } from "./zone-ttl.ts";

const name = (text: string) => foldName(parseName(text)!);

test.each([
  ["corp.example", 60],
  ["a.b.corp.example", 60],
  ["a.lab.corp.example", 5],
  ["xcorp.example", undefined],
  ["example", undefined],
])("ttlLookup() gives %s the TTL of its most specific domain: %s", (text, seconds) => {
  const ttlOf = ttlLookup([
    { domain: parseName("corp.example")!, seconds: 60 },
    { domain: parseName("LAB.corp.example")!, seconds: 5 },
  ]);
  expect(ttlOf(name(text))).toBe(seconds);
});
