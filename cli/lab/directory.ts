// The lab directory: a file system of its own in memory, so that taking a lab away is taking one
// mount away, and overlay mounts work whatever the machine's own file system is.
//
//   lab.json                 what was built; its presence says that `lab up` got that far
//   cluster/                 the manifests; every node sees them as /etc/fairlead/cluster.d
//   members/<name>/          process records, logs; of a node also its own part of the file system
//   pods/<name>.json         what `pod add` gave
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync } from "node:fs";
import { join } from "node:path";
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

/** Mounts the directory, empty. Throws when a lab, or anything else, is there. */
export async function createLabDirectory(lab: string, signal: AbortSignal): Promise<void> {
  mkdirSync(lab, { recursive: true });
  if (readdirSync(lab).length > 0) {
    throw new Error(`Cannot make a lab in ${lab}: it is not empty; is a lab up? ("lab down")`);
  }
  await execute(
    ["mount", "-n", "-t", "tmpfs", "-o", "mode=0700", "--make-private", labMountSource, lab],
    { signal },
  );
  for (const name of ["members", "cluster", "pods"]) mkdirSync(join(lab, name));
}

/** Unmounts whatever is mounted in and at the directory, and removes it. */
export async function removeLabDirectory(lab: string, signal: AbortSignal): Promise<void> {
  // One mount per round; the bound is far above the two of a lab that was interrupted while mounting.
  for (let round = 0; round < 8 && isMounted(lab); round++) {
    await execute(["umount", "-n", "--recursive", "--lazy", lab], { signal });
  }
  if (existsSync(lab)) rmdirSync(lab);
}

export const isMounted = (path: string): boolean => mountPoints().includes(path);

/** proc_pid_mountinfo(5), field 5, without its octal escapes. */
export const mountPoints = (): string[] =>
  readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .map((line) =>
      (line.split(" ")[4] ?? "").replaceAll(/\\(\d{3})/g, (_, octal: string) =>
        String.fromCodePoint(Number.parseInt(octal, 8)),
      ),
    );
