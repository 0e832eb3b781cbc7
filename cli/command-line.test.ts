import { describe, expect, test } from "vitest";
import { version } from "../core/version.ts";
import "../daemon/main.ts";
import { runCommandLine } from "./command-line.ts";
// What commands load when they run: loaded here as root, who may be the only one to read the tree.
import "./lab/actions.ts";
import "./uninstall.ts";

async function run(...args: readonly string[]): Promise<[number, string, string]> {
  let [stdout, stderr] = ["", ""];
  const status = await runCommandLine(args, {
    stdout: (text) => void (stdout += text),
    stderr: (text) => void (stderr += text),
    environment: {},
    replaceProcess: (words) => {
      throw new Error(`became ${words.join(" ")}`);
    },
    signal: new AbortController().signal,
  });
  return [status, stdout, stderr];
}

function withoutRoot(): Disposable {
  if (process.geteuid?.() !== 0) return { [Symbol.dispose]: () => {} };
  process.seteuid?.(65_534);
  return { [Symbol.dispose]: () => process.seteuid?.(0) };
}

describe("runCommandLine()", () => {
  test("prints the version, as text and as JSON", async () => {
    expect(await run("version")).toEqual([0, `${version}\n`, ""]);
    expect(await run("--version")).toEqual([0, `${version}\n`, ""]);
    const [status, stdout] = await run("version", "--json");
    expect([status, JSON.parse(stdout)]).toEqual([0, { version }]);
  });

  test("gives help on request with 0, and for nothing at all with 2", async () => {
    expect(await run("--help")).toEqual([0, expect.stringContaining("status [options]"), ""]);
    expect(await run()).toEqual([2, "", expect.stringContaining("status [options]")]);
  });

  test.each([
    [["daemon"], "run the daemon"],
    [["uninstall"], "uninstall"],
    [["lab", "up"], "make a lab"],
    [["lab", "down"], "take a lab away"],
    [["lab", "exec", "x", "true"], "use a lab"],
    [["lab", "pod", "add", "x", "--node", "y"], "use a lab"],
  ])("says of %j that it needs root", async (args, action) => {
    using _ = withoutRoot();
    expect(await run(...args)).toEqual([1, "", `fairlead: Cannot ${action} without root\n`]);
  });

  test("names no nodes, and no directory, where a lab of one's own has none", async () => {
    const [status, , stderr] = await run("lab", "up", "--cluster", import.meta.dirname);
    expect([status, stderr]).toEqual([1, expect.stringContaining("expected at least one Node")]);
  });

  test.each([
    [["statsu"], "Did you mean status?"],
    [["status", "--jsn"], "Did you mean --json?"],
    [["version", "extra"], "too many arguments"],
  ])("says what is wrong with %j, with 2", async (args, message) => {
    const [status, stdout, stderr] = await run(...args);
    expect([status, stdout]).toEqual([2, ""]);
    expect(stderr).toContain(message);
  });
});
