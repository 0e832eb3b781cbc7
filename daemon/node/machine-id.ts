import { randomUUID } from "node:crypto";
import type { Paths } from "../../core/paths.ts";
import { readFileIfThere, replaceFile } from "../files/replace-file.ts";

/** Of a machine that has none, one is made and kept. */
export function machineId(paths: Paths): string {
  const known = readFileIfThere(paths.machineId)?.trim();
  if (known !== undefined && known !== "") return known;
  const own = `${paths.state}/machine-id`;
  const made = readFileIfThere(own)?.trim() ?? randomUUID();
  replaceFile(own, `${made}\n`, 0o644);
  return made;
}
