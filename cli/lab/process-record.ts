// Who runs in a member, one file per process: `<pid> <start>`.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isAlive, type ProcessIdentity } from "./process.ts";

const recordsIn = (directory: string): string => join(directory, "processes");

export function writeRecord(directory: string, name: string, process: ProcessIdentity): void {
  mkdirSync(recordsIn(directory), { recursive: true });
  writeFileSync(join(recordsIn(directory), name), `${process.pid} ${process.startTicks}\n`);
}

/** The process of the record, while it lives. */
export function readRecord(directory: string, name: string): ProcessIdentity | undefined {
  const file = join(recordsIn(directory), name);
  if (!existsSync(file)) return undefined;
  const [pid, startTicks] = readFileSync(file, "utf8").split(" ");
  // One that was cut off when its writer was killed has no start time, and matches nothing.
  const process = { pid: Number(pid), startTicks: Number(startTicks) };
  return isAlive(process) ? process : undefined;
}

/** Every recorded process that lives. */
export function readRecords(directory: string): ProcessIdentity[] {
  if (!existsSync(recordsIn(directory))) return [];
  return readdirSync(recordsIn(directory)).flatMap((name) => readRecord(directory, name) ?? []);
}
