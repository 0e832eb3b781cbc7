// Kernel settings as they were before fairlead changed them first: uninstall puts them back.
import { renameSync } from "node:fs";
import * as v from "valibot";
import { ConfigError } from "../../core/error.ts";
import { readFileIfThere, replaceFile } from "../files/replace-file.ts";

const schema = v.object({ version: v.literal(1), values: v.record(v.string(), v.string()) });

/** Name, with slashes, → value. Empty when nothing was ever changed; throws ConfigError when damaged. */
export function readSysctlRecord(path: string): ReadonlyMap<string, string> {
  const text = readFileIfThere(path);
  if (text === undefined) return new Map();
  try {
    return new Map(Object.entries(v.parse(schema, JSON.parse(text)).values));
  } catch (cause) {
    throw new ConfigError(path, "Cannot parse the record of kernel settings", { cause });
  }
}

/**
 * Keeps the value unless one is kept already: that one is from before fairlead. A damaged record (of a
 * power cut, say) is set aside and a new one begun: no node stays without its network for want of notes.
 */
export function rememberSysctl(path: string, name: string, value: string): void {
  const values = readOrSetAside(path);
  if (values.has(name)) return;
  const all = { version: 1, values: Object.fromEntries([...values, [name, value]]) };
  replaceFile(path, `${JSON.stringify(all, null, 2)}\n`, 0o644);
}

function readOrSetAside(path: string): ReadonlyMap<string, string> {
  try {
    return readSysctlRecord(path);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    renameSync(path, `${path}.damaged`);
    return new Map();
  }
}
