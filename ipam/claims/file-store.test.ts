import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { systemClock } from "../../kernel/clock.ts";
import { tryLock } from "../../kernel/flock.ts";
import { describeClaimStore } from "../../test/support/claim-store-contract.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { openFileStore } from "./file-store.ts";

const signal = new AbortController().signal;

describeClaimStore("a directory of files", () => {
  const directory = join(temporaryDirectory(), "claims");
  return { open: () => openFileStore({ directory, clock: systemClock }) };
});

test("a file store takes no harm from what a killed process left", async () => {
  const directory = temporaryDirectory();
  const store = openFileStore({ directory, clock: systemClock });
  writeFileSync(join(directory, ".new"), "half a cl");
  expect((await store.create("k", "v", signal)).kind).toBe("written");
  expect(readdirSync(directory).sort()).toEqual([".lock", "k"]);
});

test("a file store has a file of somebody else's for taken", async () => {
  const directory = temporaryDirectory();
  const store = openFileStore({ directory, clock: systemClock });
  writeFileSync(join(directory, "k"), "");
  expect(await store.create("k", "v", signal)).toEqual({ kind: "conflict" });
  expect(await store.get("k", signal)).toEqual({ key: "k", value: "", revision: "" });
});

test("a file store says which lock it waited for", async () => {
  const directory = temporaryDirectory();
  mkdirSync(directory, { recursive: true });
  using held = tryLock(join(directory, ".lock"), "exclusive");
  expect(held).toBeDefined();
  const store = openFileStore({ directory, clock: systemClock, lockDeadlineMs: 20 });
  await expect(store.create("k", "v", signal)).rejects.toThrow(`${directory}/.lock`);
});
