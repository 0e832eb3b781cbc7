// The daemon as a process of its own, for tests: what `fairlead daemon` does, from the sources.
import { writeSync } from "node:fs";
import { parseArgs } from "node:util";
import { describeError } from "../../core/error.ts";
import { runDaemon } from "../../daemon/main.ts";

const controller = new AbortController();
process.once("SIGTERM", () => controller.abort());
const { values, positionals } = parseArgs({
  options: { replace: { type: "boolean", default: false } },
  allowPositionals: true,
});
const [configPath] = positionals;
try {
  await runDaemon({
    replaces: values.replace,
    signal: controller.signal,
    ...(configPath !== undefined && { configPath }),
  });
} catch (error) {
  writeSync(2, `${describeError(error)}\n`);
  process.exitCode = 1;
}
