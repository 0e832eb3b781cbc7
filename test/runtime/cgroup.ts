// A cgroup of its own for each machine of containers, in every hierarchy that the machine has mounted,
// version 1 or 2. Names carry the pid of their maker, as those of labs do.
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { hasErrno } from "../../core/error.ts";

const prefix = "fltest-runtime";
const removeMs = 3000;
let count = 0;

/** A mounted hierarchy. */
export interface Hierarchy {
  /** Where the machine has it. */
  readonly point: string;
  readonly type: "cgroup" | "cgroup2";
  /** What mounts it elsewhere: its controllers or its name; nothing for version 2. */
  readonly options: string;
}

export interface OwnCgroup {
  readonly hierarchies: readonly Hierarchy[];
  /** One directory for each hierarchy. */
  readonly directories: readonly string[];
  /** After the processes are gone. */
  remove(): Promise<void>;
}

export async function createCgroup(): Promise<OwnCgroup> {
  const hierarchies = mountedHierarchies();
  await removeAbandoned(hierarchies);
  const name = `${prefix}-${process.pid}-${++count}`;
  const directories = hierarchies.map(({ point }) => join(point, name));
  for (const directory of directories) {
    mkdirSync(directory);
    // cgroups(7), "cpuset": a new one takes no process before it has processors and memory.
    for (const file of ["cpuset.cpus", "cpuset.mems"]) {
      const own = join(directory, file);
      if (existsSync(own) && readFileSync(own, "utf8").trim() === "") {
        writeFileSync(own, readFileSync(join(directory, "..", file)));
      }
    }
  }
  return {
    hierarchies,
    directories,
    remove: async () => {
      for (const directory of directories) await removeTree(directory);
    },
  };
}

/** proc_pid_mountinfo(5): after the dash come type, source and the options of the file system. */
function mountedHierarchies(): Hierarchy[] {
  return readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .flatMap((line) => {
      const [mount = "", file = ""] = line.split(" - ");
      const [type, , options = ""] = file.split(" ");
      const point = mount.split(" ")[4];
      if (point === undefined || (type !== "cgroup" && type !== "cgroup2")) return [];
      const own = options.split(",").filter((option) => option !== "rw" && option !== "ro");
      return [{ point, type, options: type === "cgroup" ? own.join(",") : "" }];
    });
}

async function removeAbandoned(hierarchies: readonly Hierarchy[]): Promise<void> {
  for (const { point } of hierarchies) {
    for (const name of readdirSync(point)) {
      const pid = new RegExp(`^${prefix}-(\\d+)-\\d+$`).exec(name)?.[1];
      if (pid === undefined || existsSync(`/proc/${pid}`)) continue;
      await removeTree(join(point, name));
    }
  }
}

/** The kernel keeps a cgroup busy for a moment after its last process. */
async function removeTree(directory: string): Promise<void> {
  for (const name of readdirSync(directory)) {
    const child = join(directory, name);
    if (statSync(child, { throwIfNoEntry: false })?.isDirectory()) await removeTree(child);
  }
  const end = performance.now() + removeMs;
  for (;;) {
    try {
      return rmdirSync(directory);
    } catch (error) {
      if (hasErrno(error, "ENOENT")) return;
      if (!hasErrno(error, "EBUSY") || performance.now() > end) throw error;
      await delay(20);
    }
  }
}
