// Namespaces that nobody but a process, a mount elsewhere or an open file holds are alive.
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { expect, test } from "vitest";

const runAsMachine = (...args: readonly string[]): string =>
  execFileSync("unshare", ["--pid", "--fork", "--mount-proc", process.execPath, ...args], {
    encoding: "utf8",
    timeout: 20_000,
  });

test("a namespace lives as long as a mount, a process or an open file has it", () => {
  const said = runAsMachine(join(import.meta.dirname, "live-namespaces-scenario.ts"));
  expect(JSON.parse(said)).toEqual({
    "mounted elsewhere": true,
    "with a process": true,
    opened: true,
    left: false,
  });
});

test("nothing is said where not all processes are seen", () => {
  const script = `
    import { liveNetworkNamespaces } from "${import.meta.dirname}/../../kernel/live-namespaces.ts";
    console.log(await liveNetworkNamespaces(AbortSignal.timeout(5000)));`;
  expect(runAsMachine("--input-type=module", "-e", script).trim()).toBe("undefined");
});
