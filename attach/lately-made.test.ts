import { expect, test } from "vitest";
import { LatelyMade } from "./lately-made.ts";

test("knows an interface for a tenth of a second, again when it is made again", () => {
  let nowMs = 1_000;
  const made = new LatelyMade({ monotonicMs: () => nowMs });
  made.note("fl1");
  nowMs += 60;
  made.note("fl2");
  made.note("fl1");
  expect([made.has("fl1"), made.has("fl2"), made.has("fl3")]).toEqual([true, true, false]);
  nowMs += 60;
  expect([made.has("fl1"), made.has("fl2")]).toEqual([true, true]);
  nowMs += 60;
  expect([made.has("fl1"), made.has("fl2")]).toEqual([false, false]);
});
