import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { readSmallFile } from "./read-small-file.ts";

const directory = mkdtempSync(join(tmpdir(), "fairlead-small-"));
const path = join(directory, "file");
afterAll(() => rmSync(directory, { recursive: true }));

test("readSmallFile() gives the text, of files without a size too", () => {
  writeFileSync(path, "nameserver 192.0.2.1\n");
  expect(readSmallFile(path)).toBe("nameserver 192.0.2.1\n");
  expect(readSmallFile("/proc/self/status")).toContain("Pid:");
});

test("readSmallFile() takes 65536 octets and no more", () => {
  writeFileSync(path, "x".repeat(65_536));
  expect(readSmallFile(path)).toHaveLength(65_536);
  writeFileSync(path, "x".repeat(65_537));
  expect(() => readSmallFile(path)).toThrow("more than 65536 octets");
});

test("readSmallFile() reads from nothing that does not end", () => {
  const fifo = join(directory, "fifo");
  execFileSync("mkfifo", [fifo]);
  for (const endless of ["/dev/zero", fifo, directory]) {
    expect(() => readSmallFile(endless)).toThrow("is no regular file");
  }
  expect(() => readSmallFile(join(directory, "none"))).toThrow("ENOENT");
});
