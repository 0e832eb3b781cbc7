import { spawn } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { enter, findHolder, type Member, namespaceOf } from "./member.ts";
import {
  endProcesses,
  identify,
  processesInMountNamespace,
  type ProcessIdentity,
} from "./process.ts";
import { readRecords, writeRecord } from "./process-record.ts";

export interface ProcessStart {
  /** Names its record, and its log. */
  readonly name: string;
  readonly command: readonly string[];
}

export const logPath = (member: Member, processName: string): string =>
  join(member.directory, `${processName}.log`);

const tailLines = 20;

/** The end of the process's log. */
export const logTail = (member: Member, processName: string): string =>
  readFileSync(logPath(member, processName), "utf8")
    .trimEnd()
    .split("\n")
    .slice(-tailLines)
    .join("\n");

/** Starts a process in the member that outlives us, its output in its log, and records it. */
export function startProcess(member: Member, { name, command }: ProcessStart): ProcessIdentity {
  const [file, ...words] = enter(member);
  const log = openSync(logPath(member, name), "a", 0o600);
  try {
    const child = spawn(file, [...words, ...command], {
      detached: true,
      stdio: ["ignore", log, log],
    });
    child.unref();
    const identity = child.pid === undefined ? undefined : identify(child.pid);
    if (identity === undefined) throw new Error(`Cannot start ${name} in ${member.name}`);
    writeRecord(member.directory, name, identity);
    return identity;
  } finally {
    closeSync(log);
  }
}

/** What lives in the member: the recorded, and whatever else was started there. */
export function processesOf(member: Member): ProcessIdentity[] {
  const holder = findHolder(member);
  const inside = holder === undefined ? [] : processesInMountNamespace(namespaceOf(holder, "mnt"));
  const known = new Set(inside.map(({ pid }) => pid));
  // A record whose process is not inside: on its way in, or left by a holder that was killed.
  const others = readRecords(member.directory).filter(({ pid }) => !known.has(pid));
  return [...inside, ...others];
}

/** Ends whatever lives in the member, and with that its namespaces. */
export const endProcessesOf = (member: Member, signal: AbortSignal): Promise<void> =>
  endProcesses(processesOf(member), signal);
