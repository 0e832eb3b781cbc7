import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { version } from "./version.ts";

test("version is package.json's", () => {
  const packageJson = readFileSync(new URL("../package.json", import.meta.url), "utf8");
  expect(version).toBe(JSON.parse(packageJson).version);
});
