// The process of the operator's command: the only reader of its arguments, streams and signals.
import { writeSync } from "node:fs";
import { runCommandLine } from "./command-line.ts";

const controller = new AbortController();
// `once`: a second signal finds no listener and ends the process in the kernel's way.
for (const name of ["SIGINT", "SIGTERM"] as const) {
  process.once(name, () => controller.abort(new Error(`Stopped by ${name}`)));
}

process.exitCode = await runCommandLine(process.argv.slice(2), {
  stdout: (text) => write(1, text),
  stderr: (text) => write(2, text),
  environment: process.env,
  replaceProcess: (words, environment): never => {
    if (process.execve === undefined) throw new Error("Cannot replace the process: no execve here");
    return process.execve("/usr/bin/env", ["env", ...words], { ...environment });
  },
  signal: controller.signal,
});

// Synchronous and complete, so that nothing is cut off at exit; a reader that went away (`| head`)
// is no failure of ours.
function write(descriptor: number, text: string): void {
  const bytes = Buffer.from(text);
  try {
    for (let at = 0; at < bytes.length;) at += writeSync(descriptor, bytes, at);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "EPIPE") return;
    throw error;
  }
}
