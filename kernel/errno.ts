import { getSystemErrorName } from "node:util";
import { KernelError } from "../core/error.ts";
import { formatChange } from "../core/format-change.ts";
import type { Change } from "../core/network.ts";

// What netlink and nf_tables return and libuv has no name for, or another than Linux's own: asm-generic/errno.h,
// linux/errno.h.
const kernelOnlyNames = new Map([
  [-85, "ERESTART"],
  [-95, "EOPNOTSUPP"],
  [-524, "ENOTSUPP"],
]);

/** Symbolic name of a negative errno, as the system calls and netlink give it: -17 → `EEXIST`. */
export const errnoName = (negative: number): string =>
  kernelOnlyNames.get(negative) ?? getSystemErrorName(negative);

/** The result of a system call, or a KernelError when it is a negative errno. */
export function checked(result: number, operation: string): number {
  if (result < 0) throw new KernelError(operation, errnoName(result));
  return result;
}

/** A failure of node:fs as a KernelError. */
export function fromSystemError(thrown: unknown, operation: string): KernelError {
  const code =
    thrown instanceof Error && "code" in thrown && typeof thrown.code === "string"
      ? thrown.code
      : "EIO";
  return new KernelError(operation, code, "", { cause: thrown });
}

/** The failure of one change, naming it as `ip` or `bridge` would have it. */
export const changeError = (change: Change, errno: string, kernelMessage = ""): KernelError =>
  new KernelError(`apply "${formatChange(change)}"`, errno, kernelMessage);
