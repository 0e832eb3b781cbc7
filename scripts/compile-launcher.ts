import { execFileSync } from "node:child_process";
import { join } from "node:path";

const source = join(import.meta.dirname, "..", "plugin", "launcher.c");

// Static, for it must run in whatever root a runtime has; musl's start-up takes a third of glibc's.
const flags =
  "-std=gnu11 -Os -static -s -Wall -Wextra -Werror -Wshadow -Wconversion " +
  "-fstack-protector-strong -fstack-clash-protection -Wl,-z,relro,-z,now,-z,noexecstack";

/** Compiles plugin/launcher.c; `defines` are for tests, which cannot wait for the usual deadlines. */
export function compileLauncher(output: string, defines: readonly string[] = []): void {
  const options = defines.map((define) => `-D${define}`);
  execFileSync("musl-gcc", [...flags.split(" "), ...options, "-o", output, source]);
}
