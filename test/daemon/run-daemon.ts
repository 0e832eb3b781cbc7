// The daemon as a process of its own, for tests: what `fairlead daemon` does, from the sources.
import { writeSync } from "node:fs";
import { describeError } from "../../core/error.ts";
import { runDaemon } from "../../daemon/main.ts";

const controller = new AbortController();
process.once("SIGTERM", () => controller.abort());
const [configPath] = process.argv.slice(2);
try {
  await runDaemon({
    signal: controller.signal,
    ...(configPath !== undefined && { configPath }),
  });
} catch (error) {
  writeSync(2, `${describeError(error)}\n`);
  process.exitCode = 1;
}
