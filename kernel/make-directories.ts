import { mkdirSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { hasErrno } from "../core/error.ts";

/**
 * A directory and those above it, where missing. In the place of `mkdirSync` with `recursive`, which
 * never ends below /proc: there the kernel says ENOENT of a directory whose parent exists.
 */
export function makeDirectories(
  path: string,
  mode: number,
  mkdir: (path: string, options: { readonly mode: number }) => unknown = mkdirSync,
): void {
  if (isDirectory(path)) return;
  const parent = dirname(path);
  if (parent !== path) makeDirectories(parent, mode, mkdir);
  try {
    mkdir(path, { mode });
  } catch (error) {
    // Somebody else made it meanwhile.
    if (!(hasErrno(error, "EEXIST") && isDirectory(path))) throw error;
  }
}

const isDirectory = (path: string): boolean =>
  statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
