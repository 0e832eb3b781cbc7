// Every situation of the cases is either tested here, under its id, or named with the reason why not yet.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { cases } from "./fixture.ts";

const notYet: Readonly<Record<string, string>> = {
  M07: "tested where a daemon is: test/daemon/hand-over.lab.test.ts",
};

test("every situation is tested, or named as not yet in scope", () => {
  const tests = readdirSync(import.meta.dirname)
    .filter((file) => file.endsWith(".test.ts"))
    .map((file) => readFileSync(join(import.meta.dirname, file), "utf8"))
    .join("\n");
  const isTested = (id: string): boolean =>
    new RegExp(`"[^"\n]*\\b${id}\\b[^"\n]*"`).test(tests.replace(/^ {2}\w+: .*$/gm, ""));
  const missing = cases.situations.filter(({ id }) => !isTested(id) && !(id in notYet));
  expect(missing).toEqual([]);
  // What has come into scope leaves the list.
  expect(Object.keys(notYet).filter(isTested)).toEqual([]);
});
