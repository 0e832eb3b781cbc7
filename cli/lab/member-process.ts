import { spawn } from "node:child_process";
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { enter, type Member, pinOf } from "./member.ts";
import {
  endProcesses,
  identify,
  isAlive,
  processesInMountNamespace,
  type ProcessIdentity,
} from "./process.ts";

export interface ProcessStart {
  /** Names its record, and its log. */
  readonly name: string;
  readonly command: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
}

const recordsOf = (member: Member): string => join(member.directory, "processes");

export const logPath = (member: Member, processName: string): string =>
  join(member.directory, `${processName}.log`);

/** Starts a process in the member that outlives us, its output in its log, and records it. */
export function startProcess(
  member: Member,
  { name, command, environment = {} }: ProcessStart,
): ProcessIdentity {
  const [file, ...words] = enter(member);
  const log = openSync(logPath(member, name), "a", 0o600);
  try {
    const child = spawn(file, [...words, ...command], {
      detached: true,
      stdio: ["ignore", log, log],
      env: { ...process.env, ...environment },
    });
    child.unref();
    const identity = child.pid === undefined ? undefined : identify(child.pid);
    if (identity === undefined) throw new Error(`Cannot start ${name} in ${member.name}`);
    mkdirSync(recordsOf(member), { recursive: true });
    writeFileSync(join(recordsOf(member), name), `${identity.pid} ${identity.startTicks}\n`);
    return identity;
  } finally {
    closeSync(log);
  }
}

/** What lives in the member: the recorded, and whatever else was started there. */
export function processesOf(member: Member): ProcessIdentity[] {
  const pin = pinOf(member, "mnt");
  const inside = existsSync(pin) ? processesInMountNamespace(pin) : [];
  const known = new Set(inside.map(({ pid }) => pid));
  // A record whose process is not inside: it was killed on its way in, or somebody removed the pin.
  return [...inside, ...recorded(member).filter((process) => !known.has(process.pid))];
}

/** Ends whatever lives in the member. */
export const endProcessesOf = (member: Member, signal: AbortSignal): Promise<void> =>
  endProcesses(processesOf(member), signal);

function recorded(member: Member): ProcessIdentity[] {
  if (!existsSync(recordsOf(member))) return [];
  return readdirSync(recordsOf(member)).flatMap((name) => {
    const [pid, startTicks] = readFileSync(join(recordsOf(member), name), "utf8").split(" ");
    // A record that was cut off when its writer was killed has no start time and matches nothing.
    const process = { pid: Number(pid), startTicks: Number(startTicks) };
    return isAlive(process) ? [process] : [];
  });
}
