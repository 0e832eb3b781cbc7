import fc from "fast-check";
import { expect, test } from "vitest";
import { ItemSplitter } from "./item-splitter.ts";

function split(text: string, cuts: readonly number[] = []) {
  const bytes = Buffer.from(text);
  const items: unknown[] = [];
  const splitter = new ItemSplitter((item) => items.push(item));
  const places = [0, ...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length];
  places.sort((a, b) => a - b);
  for (let i = 1; i < places.length; i++) {
    splitter.write(bytes.subarray(places[i - 1], places[i]));
  }
  return { items, rest: splitter.end() };
}

const json = fc.jsonValue({ depthSize: "small", stringUnit: "grapheme" });
const item = fc.dictionary(fc.string(), json);

test("gives each item of a list, however the text was cut", () => {
  const list = fc.record({
    kind: fc.constant("NodeList"),
    metadata: fc.record({ resourceVersion: fc.string(), labels: fc.array(json) }),
    items: fc.array(item),
    last: json,
  });
  fc.assert(
    fc.property(list, fc.array(fc.nat()), fc.nat(2), (value, cuts, indent) => {
      const found = split(JSON.stringify(value, null, indent), cuts);
      expect(found.items).toEqual(JSON.parse(JSON.stringify(value.items)));
      expect(found.rest).toEqual(JSON.parse(JSON.stringify({ ...value, items: [] })));
    }),
  );
});

test("takes a list without items", () => {
  expect(split('{"items":null,"metadata":{}}')).toEqual({
    items: [],
    rest: { items: null, metadata: {} },
  });
});

test("is not deceived by lists of that name elsewhere", () => {
  const text = '{"metadata":{"items":[{"a":1}]},"x":"\\"items\\":[","items":[{"b":2}]}';
  expect(split(text).items).toEqual([{ b: 2 }]);
});

test.each(['{"items":[{"a":1}', '{"items":[{"a":1},', '{"items":[{"a":', "", "nonsense"])(
  "refuses what is cut off or no JSON: %s",
  (text) => expect(() => split(text)).toThrow(SyntaxError),
);

test("refuses an item, or what is beside them, that is too large", () => {
  const large = "x".repeat(9 << 20);
  expect(() => split(`{"items":[{"a":"${large}`)).toThrow("an item of more than 8 MiB");
  expect(() => split(`{"a":"${large}"}`)).toThrow("too much beside its items");
});
