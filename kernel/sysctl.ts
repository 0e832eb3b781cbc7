import { readFileSync, writeFileSync } from "node:fs";
import { KernelError, hasErrno } from "../core/error.ts";
import { fromSystemError } from "./errno.ts";

/** Below /proc/sys. A name with a slash has only those as separators: `net/ipv4/conf/eth0.10/…`. */
export function sysctlPath(name: string): string {
  const path = name.includes("/") ? name : name.replaceAll(".", "/");
  if (path.split("/").some((part) => part === "" || part === "." || part === "..")) {
    throw new KernelError(`name the sysctl "${name}"`, "EINVAL");
  }
  return path;
}

/** Of the calling thread's network namespace. Undefined when there is no such setting. */
export function readSysctl(name: string): string | undefined {
  const path = sysctlPath(name);
  try {
    return readFileSync(`/proc/sys/${path}`, "utf8").trimEnd();
  } catch (thrown) {
    if (hasErrno(thrown, "ENOENT")) return undefined;
    throw fromSystemError(thrown, `read sysctl "${name}"`);
  }
}

/** As {@link readSysctl}; KernelError ENOENT when there is no such setting. */
export function writeSysctl(name: string, value: string): void {
  const path = sysctlPath(name);
  try {
    // Without O_CREAT and O_TRUNC, which "w" would bring: nothing under /proc/sys is to be made.
    writeFileSync(`/proc/sys/${path}`, value, { flag: "r+" });
  } catch (thrown) {
    throw fromSystemError(thrown, `write sysctl "${name}" = "${value}"`);
  }
}
