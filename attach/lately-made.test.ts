import { expect, test } from "vitest";
import { LatelyMade } from "./lately-made.ts";

let nowMs = 1_000;
const clock = { monotonicMs: () => nowMs };
const atOnce = () => Promise.resolve();

test("knows an interface for a tenth of a second, again when it is made again", async () => {
  const made = new LatelyMade(clock);
  await made.during("fl1", atOnce);
  nowMs += 60;
  await made.during("fl2", atOnce);
  await made.during("fl1", atOnce);
  expect([made.has("fl1"), made.has("fl2"), made.has("fl3")]).toEqual([true, true, false]);
  nowMs += 60;
  expect([made.has("fl1"), made.has("fl2")]).toEqual([true, true]);
  nowMs += 60;
  expect([made.has("fl1"), made.has("fl2")]).toEqual([false, false]);
});

test("knows an interface while any request is at work on it, and not when all have failed", async () => {
  const made = new LatelyMade(clock);
  const [first, second] = [Promise.withResolvers<string>(), Promise.withResolvers<string>()];
  const both = [first, second].map(({ promise }) => made.during("fl1", () => promise));
  nowMs += 5_000;
  expect(made.has("fl1")).toBe(true);
  first.reject(new Error("no address"));
  await expect(both[0]).rejects.toThrow("no address");
  expect(made.has("fl1")).toBe(true);
  second.reject(new Error("no address"));
  await expect(both[1]).rejects.toThrow("no address");
  expect(made.has("fl1")).toBe(false);
});
