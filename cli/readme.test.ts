import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { runCommandLine } from "./command-line.ts";

const readme = readFileSync(join(import.meta.dirname, "README.md"), "utf8");
const [, examples = ""] = /## Examples\n\n```\n([\s\S]*?)```/.exec(readme) ?? [];
const lines = examples.trim().split("\n");

// `--help` in place of running: it is printed only when every word before it is known.
test.each(lines)("the README's `%s` has known words", async (line) => {
  const [program, ...words] = line.split(" ");
  const own = words.includes("--") ? words.slice(0, words.indexOf("--")) : words;
  let stdout = "";
  const status = await runCommandLine([...own, "--help"], {
    stdout: (text) => void (stdout += text),
    stderr: () => {},
    environment: {},
    replaceProcess: () => {
      throw new Error("replaced");
    },
    signal: new AbortController().signal,
  });
  expect([program, status]).toEqual(["fairlead", 0]);
  const depth = !["lab", "ipam", "service", "dns"].includes(own[0] ?? "")
    ? 1
    : own[1] === "pod"
      ? 3
      : 2;
  expect(stdout).toContain(`Usage: fairlead ${own.slice(0, depth).join(" ")} [options]`);
  for (const option of own.filter((word) => word.startsWith("--"))) {
    expect(stdout).toContain(option);
  }
});
