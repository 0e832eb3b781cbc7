import fc from "fast-check";
import { expect, test } from "vitest";
import { LineSplitter } from "./line-splitter.ts";

test("gives each line, however the text was cut", () => {
  const lines = fc.array(fc.jsonValue({ stringUnit: "grapheme" }));
  fc.assert(
    fc.property(lines, fc.array(fc.nat()), (values, cuts) => {
      const bytes = Buffer.from(values.map((value) => `${JSON.stringify(value)}\n`).join(""));
      const places = [0, ...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length];
      places.sort((a, b) => a - b);
      const splitter = new LineSplitter();
      const found = places.flatMap((place, i) => [
        ...splitter.write(bytes.subarray(place, places[i + 1])),
      ]);
      expect(found).toEqual(values.map((value) => JSON.parse(JSON.stringify(value))));
    }),
  );
});

test("refuses a line without an end", () => {
  const splitter = new LineSplitter();
  const megabyte = Buffer.alloc(1 << 20, "x");
  expect(() => {
    for (let i = 0; i < 9; i++) splitter.write(megabyte).toArray();
  }).toThrow("a line of more than 8 MiB");
});

test("refuses what is no JSON", () => {
  expect(() => [...new LineSplitter().write(Buffer.from("<html>\n"))]).toThrow(SyntaxError);
});
