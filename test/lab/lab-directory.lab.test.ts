// `lab down` is given any path: it takes labs away and nothing else.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { expect, onTestFinished, test } from "vitest";
import { createLabDirectory, isMounted } from "../../cli/lab/directory.ts";
import { labDown } from "../../cli/lab/lab.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const { signal } = new AbortController();
const directoryOfTest = (): string => join(temporaryDirectory(), "lab");

function mounted(directory: string): void {
  execFileSync("mount", ["-t", "tmpfs", "data", directory]);
  onTestFinished(() => {
    if (isMounted(directory)) execFileSync("umount", [directory]);
  });
}

const refused = async (directory: string): Promise<void> =>
  expect(labDown(directory)).rejects.toThrow(`Cannot take ${directory} away: it is no lab`);

test("a mount point that is no lab stays, with what is in it", async () => {
  const directory = directoryOfTest();
  mkdirSync(directory);
  mounted(directory);
  writeFileSync(join(directory, "data"), "x");
  await refused(directory);
  expect(readFileSync(join(directory, "data"), "utf8")).toBe("x");
});

test("a directory that is no lab stays, with something in it or empty", async () => {
  const directory = directoryOfTest();
  mkdirSync(directory);
  await refused(directory);
  expect(existsSync(directory)).toBe(true);
  writeFileSync(join(directory, "data"), "x");
  await refused(directory);
  expect(existsSync(join(directory, "data"))).toBe(true);
});

test("what somebody mounted over a lab is not unmounted", async () => {
  const directory = directoryOfTest();
  await createLabDirectory(directory, signal);
  mounted(directory);
  await refused(directory);
  execFileSync("umount", [directory]);
  expect(await labDown(directory)).toBe(true);
  expect(existsSync(directory)).toBe(false);
});

test("a lab goes, and a directory that was there before it stays", async () => {
  const directory = directoryOfTest();
  expect(await labDown(directory)).toBe(false);
  mkdirSync(directory);
  await createLabDirectory(directory, signal);
  expect(await labDown(directory)).toBe(true);
  expect([existsSync(directory), isMounted(directory)]).toEqual([true, false]);
});

test("an up that was killed before it mounted has left a directory that goes", async () => {
  const directory = directoryOfTest();
  await createLabDirectory(directory, signal);
  execFileSync("umount", [directory]);
  expect([existsSync(directory), isMounted(directory)]).toEqual([true, false]);
  expect(await labDown(directory)).toBe(true);
  expect(existsSync(directory)).toBe(false);
});

test("an up that is stopped while it mounts leaves nothing", async () => {
  const directory = directoryOfTest();
  for (const turns of [0, 1, 2, 4, 8, 16, 32]) {
    const stop = new AbortController();
    const made = createLabDirectory(directory, stop.signal).then(
      () => "made",
      () => "stopped",
    );
    for (let turn = 0; turn < turns; turn++) await setTimeout(1);
    stop.abort();
    if ((await made) === "made") await labDown(directory);
    expect([turns, existsSync(directory), isMounted(directory)]).toEqual([turns, false, false]);
  }
});
