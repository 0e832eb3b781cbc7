// The lab directory: a file system of its own in memory, so that taking a lab away is taking one
// mount away, and overlay mounts work whatever the machine's own file system is.
//
//   lab.json                 what was built; its presence says that `lab up` got that far
//   cluster/                 the manifests; every node sees them as /etc/fairlead/cluster.d
//   members/<name>/          process records, logs; of a node also its own part of the file system
//   pods/<name>.json         what `pod add` gave
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, rmdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { execute } from "./execute.ts";
import { labMountSource, type Member } from "./member.ts";

export const clusterOf = (lab: string): string => join(lab, "cluster");
export const podsOf = (lab: string): string => join(lab, "pods");
export const labFile = (lab: string): string => join(lab, "lab.json");
export const memberOf = (lab: string, name: string): Member => ({
  name,
  directory: join(lab, "members", name),
});

/** Every member that was begun, whether or not it was finished. */
export function membersOf(lab: string): Member[] {
  const directory = join(lab, "members");
  return existsSync(directory) ? readdirSync(directory).map((name) => memberOf(lab, name)) : [];
}

/** Mounts the directory, empty. Throws when a lab, or anything else, is there; nothing is left of a failure. */
export async function createLabDirectory(lab: string, signal: AbortSignal): Promise<void> {
  mkdirSync(dirname(lab), { recursive: true });
  if (!existsSync(lab)) mkdirSync(lab, { mode: ownMode });
  if (readdirSync(lab).length > 0) {
    throw new Error(`Cannot make a lab in ${lab}: it is not empty; is a lab up? ("lab down")`);
  }
  try {
    await mount(lab, signal);
  } catch (error) {
    // A mount that was interrupted may be there all the same.
    await removeLabDirectory(lab, never);
    throw error;
  }
  for (const name of ["members", "cluster", "pods"]) mkdirSync(join(lab, name));
}

async function mount(lab: string, signal: AbortSignal): Promise<void> {
  const options = ["-o", "mode=0700", "--make-private"];
  const command = ["mount", "-n", "-t", "tmpfs", ...options, labMountSource, lab] as const;
  await execute(command, { signal: never });
  signal.throwIfAborted();
}

const { signal: never } = new AbortController();

/** False where nothing is at the path. Throws for what no `lab up` has made. */
export function isLabDirectory(lab: string): boolean {
  if (!existsSync(lab)) return false;
  if (isLabMounted(lab) || (!isMounted(lab) && isOwnEmpty(lab))) return true;
  throw new Error(
    `Cannot take ${lab} away: it is no lab (expected what "fairlead lab up --dir ${lab}" makes)`,
  );
}

/** Unmounts the lab, with whatever is mounted in it, and removes the directory if `lab up` made it. */
export async function removeLabDirectory(lab: string, signal: AbortSignal): Promise<void> {
  // One mount per round; the bound is far above the two of a lab that was interrupted while mounting.
  for (let round = 0; round < 8 && isLabMounted(lab); round++) {
    await execute(["umount", "-n", "--recursive", "--lazy", lab], { signal });
  }
  if (!isMounted(lab) && isOwnEmpty(lab)) rmdirSync(lab);
}

/** Sticky and root's alone, as hardly anybody makes one: a directory below the mount, or without one yet, is ours. */
const ownMode = 0o1700;

function isOwnEmpty(path: string): boolean {
  const status = lstatSync(path, { throwIfNoEntry: false });
  if (status?.isDirectory() !== true || (status.mode & 0o7777) !== ownMode) return false;
  return readdirSync(path).length === 0;
}

/** Of mounts one over the other the last is what one sees. */
const isLabMounted = (path: string): boolean =>
  readMounts().findLast(({ point }) => point === path)?.source === labMountSource;

export const isMounted = (path: string): boolean => mountPoints().includes(path);

export const mountPoints = (): string[] => readMounts().map(({ point }) => point);

/** proc_pid_mountinfo(5): field 5, and the source, second after the hyphen; without octal escapes. */
const readMounts = (): { readonly point: string; readonly source: string }[] =>
  readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .map((line) => {
      const [before = "", after = ""] = line.split(" - ", 2);
      return {
        point: unescape(before.split(" ")[4] ?? ""),
        source: unescape(after.split(" ")[1] ?? ""),
      };
    });

const unescape = (text: string): string =>
  text.replaceAll(/\\(\d{3})/g, (_, octal: string) =>
    String.fromCodePoint(Number.parseInt(octal, 8)),
  );
