import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { makeDirectories } from "./make-directories.ts";

const directory = mkdtempSync(join(tmpdir(), "fairlead-directories-"));
afterAll(() => rmSync(directory, { recursive: true }));

test("makeDirectories() makes what is missing, with its mode, and nothing twice", () => {
  const path = join(directory, "a/b/c");
  for (let i = 0; i < 2; i++) makeDirectories(path, 0o700);
  expect(statSync(path).mode & 0o777).toBe(0o700);
});

test("makeDirectories() ends where the kernel lets nobody make a directory", () => {
  expect(() => makeDirectories("/proc/fairlead/x", 0o755)).toThrow("ENOENT");
});

test("makeDirectories() says so where a file is in the way", () => {
  writeFileSync(join(directory, "file"), "");
  expect(() => makeDirectories(join(directory, "file"), 0o755)).toThrow("EEXIST");
  expect(() => makeDirectories(join(directory, "file/x"), 0o755)).toThrow(/EEXIST|ENOTDIR/);
});
