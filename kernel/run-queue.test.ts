import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { RunQueue } from "./run-queue.ts";

test("says how many threads want to run, each time anew", () => {
  const directory = mkdtempSync(join(tmpdir(), "fairlead-queue-"));
  const path = join(directory, "loadavg");
  writeFileSync(path, "0.20 0.18 11.12 1/80 11206\n");
  using queue = new RunQueue(path);
  expect(queue.length).toBe(1);
  writeFileSync(path, "120.20 0.18 1.12 37/12080 4011206\n");
  expect(queue.length).toBe(37);
  writeFileSync(path, "of another kind");
  expect(queue.length).toBe(Infinity);
  rmSync(directory, { recursive: true });
});

test("has at least who asks in it", () => {
  using queue = new RunQueue();
  expect(queue.length).toBeGreaterThanOrEqual(1);
  expect(queue.length).toBeLessThan(Infinity);
});
