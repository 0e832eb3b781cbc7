// One file of manifests, read whole and parsed, or why not.
import { closeSync, fstatSync, openSync, readFileSync, statSync } from "node:fs";
import { describeError } from "../../core/error.ts";
import { type Manifest, parseManifest } from "./manifest.ts";

export const largestFile = 32 * 1024 * 1024;

export type ReadManifest =
  | { readonly kind: "unchanged" }
  /** Somebody is writing it. */
  | { readonly kind: "changing" }
  | { readonly kind: "read"; readonly stamp: string; readonly manifest: Manifest };

/** @param lastStamp what identifies the version that was read last. */
export function readManifest(path: string, lastStamp: string | undefined): ReadManifest {
  const fail = (stamp: string, message: string): ReadManifest =>
    stamp === lastStamp
      ? { kind: "unchanged" }
      : { kind: "read", stamp, manifest: { kind: "invalid", problems: [{ line: 1, message }] } };
  try {
    const stats = statSync(path, { bigint: true });
    const stamp = stampOf(stats);
    if (stamp === lastStamp) return { kind: "unchanged" };
    if (!stats.isFile()) return fail(stamp, "Cannot read it: expected a regular file");
    if (stats.size > largestFile) {
      return fail(stamp, `Cannot use ${stats.size} octets: expected at most ${largestFile}`);
    }
    const fd = openSync(path, "r");
    try {
      const text = readFileSync(fd, "utf8");
      const after = stampOf(fstatSync(fd, { bigint: true }));
      if (after !== stamp) return { kind: "changing" };
      return { kind: "read", stamp, manifest: parseManifest(text) };
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    const message = describeError(error);
    return fail(message, `Cannot read it: ${message}`);
  }
}

/** The octets of a file that is not as its stamp says; 0 where only reading it tells what is wrong. */
export function octetsToRead(path: string, lastStamp: string | undefined): number | "known" {
  try {
    const stats = statSync(path, { bigint: true });
    return stampOf(stats) === lastStamp ? "known" : Number(stats.size);
  } catch {
    return 0;
  }
}

const stampOf = (stats: {
  readonly dev: bigint;
  readonly ino: bigint;
  readonly size: bigint;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
}): string => [stats.dev, stats.ino, stats.size, stats.mtimeNs, stats.ctimeNs].join(":");
