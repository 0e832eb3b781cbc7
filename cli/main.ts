// The process of the operator's command: the only reader of its arguments, streams and signals.
import { writeAll } from "../kernel/standard-streams.ts";
import { runCommandLine } from "./command-line.ts";
import { stopSignal } from "./stop-signal.ts";

const status = await runCommandLine(process.argv.slice(2), {
  // A reader that went away (`| head`) is no failure of ours.
  stdout: (text) => void writeAll(1, text),
  stderr: (text) => void writeAll(2, text),
  ...(process.stdout.isTTY && { columns: process.stdout.columns }),
  environment: process.env,
  replaceProcess: (words, environment): never => {
    if (process.execve === undefined) throw new Error("Cannot replace the process: no execve here");
    return process.execve("/usr/bin/env", ["env", ...words], { ...environment });
  },
  signal: stopSignal(),
});
// Everything is written. What a part left open must not keep a stopped daemon alive.
process.exit(status);
