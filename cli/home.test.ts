import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { commandFor } from "./home.ts";

test("commandFor() is what a shell would find the command by", () => {
  const directory = mkdtempSync(join(tmpdir(), "fairlead-home-"));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const [dist, bin] = [join(directory, "dist"), join(directory, "bin")];
  for (const each of [dist, bin]) mkdirSync(each);
  const command = join(dist, "fairlead");
  writeFileSync(command, "");
  expect(commandFor({}, directory, command)).toBe("dist/fairlead");
  expect(commandFor({}, dist, command)).toBe("./fairlead");
  expect(commandFor({}, bin, command)).toBe(command);

  const inPath = join(bin, "fairlead");
  const environment = { PATH: `:/none:${bin}` };
  writeFileSync(inPath, "another version");
  expect(commandFor(environment, bin, command)).toBe(command);
  rmSync(inPath);
  symlinkSync(command, inPath);
  expect(commandFor(environment, bin, command)).toBe("fairlead");
});
