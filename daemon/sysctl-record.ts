// Kernel settings as they were before fairlead changed them first: uninstall puts them back.
import * as v from "valibot";
import { ConfigError } from "../core/error.ts";
import { readFileIfThere, replaceFile } from "./replace-file.ts";

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

/** Keeps the value unless one is kept already: that one is from before fairlead. */
export function rememberSysctl(path: string, name: string, value: string): void {
  const values = readSysctlRecord(path);
  if (values.has(name)) return;
  const all = { version: 1, values: Object.fromEntries([...values, [name, value]]) };
  replaceFile(path, `${JSON.stringify(all, null, 2)}\n`, 0o644);
}
