import { type CniVersion, cniVersions } from "./types.ts";

/** Numbers of a dotted version, most significant first. */
export type VersionParts = readonly [major: number, minor: number, patch: number];

/** The version that we answer in where the request named none that we know. */
export const newestVersion: CniVersion = "1.1.0";

/** The version of a configuration that names none: it is of the age before there was one to name. */
export const unnamedVersion: CniVersion = "0.1.0";

/**
 * Up to three dotted numbers, missing ones are 0. Undefined when the text is no version.
 */
export function parseVersion(text: string): VersionParts | undefined {
  if (!/^\d{1,9}(\.\d{1,9}){0,2}$/.test(text)) return undefined;
  const [major = 0, minor = 0, patch = 0] = text.split(".").map(Number);
  return [major, minor, patch];
}

/** Less than zero, zero, more than zero; by number, not by text. */
export const compareVersions = (a: VersionParts, b: VersionParts): number =>
  a[0] - b[0] || a[1] - b[1] || a[2] - b[2];

/** By exact text, as the reference has it: "1.0" is not "1.0.0". */
export const isSupportedVersion = (text: string): text is CniVersion =>
  cniVersions.some((version) => version === text);

/** Versions whose results have the same members. */
export type ResultFamily = "0.2" | "0.4" | "1.x";

export function resultFamily(version: CniVersion): ResultFamily {
  switch (version) {
    case "0.1.0":
    case "0.2.0":
      return "0.2";
    case "0.3.0":
    case "0.3.1":
    case "0.4.0":
      return "0.4";
    case "1.0.0":
    case "1.1.0":
      return "1.x";
  }
}
