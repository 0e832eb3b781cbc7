import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { notOurs, rowLines, rowsByArea, rowsIn } from "./rows.ts";

const root = join(import.meta.dirname, "../..");
const own = ["test/cni/rows.ts", "test/cni/rows.test.ts"];

/** What the tests say of themselves: their sources, without comments. */
const testSources = ["core", "ipam", "attach", "cli", "daemon", "test"]
  .flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: "utf8" }).map((file) =>
      join(folder, file),
    ),
  )
  .filter((file) => file.endsWith(".test.ts") || /^test\/.*\.ts$/.test(file))
  .filter((file) => !own.includes(file))
  .map((file) => readFileSync(join(root, file), "utf8").replaceAll(/^\s*\/\/.*$/gm, ""));

const tested = new Set(testSources.flatMap(rowsIn));
const all = [...rowsByArea.values()].flat();

describe("each row", () => {
  test("is tested, or said not to be ours", () =>
    expect(all.filter((id) => !tested.has(id) && !notOurs.has(id))).toEqual([]));
  test("is not both", () => expect([...notOurs.keys()].filter((id) => tested.has(id))).toEqual([]));
  test("that a test names exists", () =>
    expect([...tested].filter((id) => !all.includes(id))).toEqual([]));
  test("that is not ours exists", () =>
    expect([...notOurs.keys()].filter((id) => !all.includes(id))).toEqual([]));
  test("has an id of its own", () => expect(new Set(all).size).toBe(all.length));
});

test("rowsIn() finds ids as whole words", () =>
  expect(rowsIn("hl-disk-14, lo-01: x; lo-01 again; hello-01 disp-123 pod-lo-04 (bw-03)")).toEqual([
    "hl-disk-14",
    "lo-01",
    "bw-03",
  ]));

test("rowLines() counts what passed wherever it was tested, by area", () =>
  expect(
    rowLines([
      { title: "args-01, args-02: both", isPassed: true },
      { title: "args-02 elsewhere", isPassed: false },
      { title: "args-02 once more", isPassed: true },
      { title: "lo-01", isPassed: true },
      { title: "no row at all", isPassed: true },
    ]),
  ).toEqual([
    "args     1 of 10 rows passed (8 not run)",
    "lo       1 of 1 rows passed (3 not ours)",
  ]));
