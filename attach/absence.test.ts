import { expect, test } from "vitest";
import { Absence } from "./absence.ts";

test("lasting() gives what was missed at every look for the grace", () => {
  const absence = new Absence(10);
  const at = (nowMs: number, ...missing: string[]) => [...absence.lasting(missing, nowMs)];
  expect(at(0, "a", "b")).toEqual([]);
  expect(at(9, "a", "b")).toEqual([]);
  expect(at(10, "a", "c")).toEqual(["a"]);
  expect(at(19, "a", "b", "c")).toEqual(["a"]);
  expect(at(20, "b", "c")).toEqual(["c"]);
});
