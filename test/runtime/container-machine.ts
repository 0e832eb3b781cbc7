// What a container runtime needs of a lab node to run as on a machine of its own: an idle process that
// holds a PID, a mount and a cgroup namespace inside the node. Whatever the runtime starts, shims and
// containers and what they leave behind, ends with it.
import { spawn } from "node:child_process";
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  symlinkSync,
} from "node:fs";
import { basename, join } from "node:path";
import { execa } from "execa";
import { artifacts } from "../../cli/home.ts";
import { holderOf, type Member, runIn } from "../../cli/lab/member.ts";
import { logPath } from "../../cli/lab/member-process.ts";
import { outsidePath } from "../../cli/lab/node.ts";
import { endProcesses, identify, type ProcessIdentity } from "../../cli/lab/process.ts";
import { writeRecord } from "../../cli/lab/process-record.ts";
import { waitFor } from "../../cli/lab/wait.ts";
import { paths } from "../../core/paths.ts";
import { createCgroup, type OwnCgroup } from "./cgroup.ts";

export interface Outcome {
  readonly status: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

export interface ContainerMachine extends AsyncDisposable {
  readonly node: Member;
  /** Runs a command inside; never throws. */
  run(...command: readonly string[]): Promise<Outcome>;
  /** As `run`; throws what it said when it fails. */
  output(...command: readonly string[]): Promise<string>;
  /** Starts a process inside, its output in the node's log of this name. */
  start(name: string, command: readonly string[]): Promise<ProcessIdentity>;
  /** Where a file inside is for us. */
  path(inside: string): string;
  /** Command lines of what runs inside, without what holds it. */
  processes(): string[];
}

const timeoutMs = 30_000;
const signal = new AbortController().signal;

export async function createContainerMachine(node: Member): Promise<ContainerMachine> {
  await using stack = new AsyncDisposableStack();
  linkPlugins(node);
  await runIn(node, ["sh", "-euc", sharePins], { signal });
  const cgroup = await createCgroup();
  stack.defer(() => cgroup.remove());
  const holder = startProcess(node, "container-machine", holderCommand(node, cgroup));
  stack.defer(() => endProcesses([holder], signal, 0));
  const init = await childOf(holder);
  stack.defer(() => endProcesses([init], signal, 0));
  const root = `/proc/${init.pid}/root`;
  await waitFor(() => (existsSync(join(root, readyFile)) ? true : undefined), {
    what: `the container machine of ${node.name} was not set up: see ${logPath(node, "container-machine")}`,
    deadlineMs: 5000,
    signal,
  });
  const prefix = enterCommand(init, cgroup);
  const run: ContainerMachine["run"] = async (...command) => {
    const [file = "", ...args] = [...prefix, ...command];
    const options = { reject: false, timeout: timeoutMs, stdin: "ignore" } as const;
    const { exitCode, stdout, stderr } = await execa(file, args, options);
    return { status: exitCode, stdout, stderr };
  };
  const parts = stack.move();
  return {
    node,
    run,
    output: async (...command) => {
      const { status, stdout, stderr } = await run(...command);
      if (status === 0) return stdout;
      throw new Error(`Command "${command.join(" ")}" failed (${status}): ${stderr} ${stdout}`);
    },
    start: (name, command) => childOf(startProcess(node, name, [...prefix, ...command])),
    path: (inside) => join(root, inside),
    processes: () => processesIn(root),
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  };
}

/** Where each runtime looks for plugins: ours, and the one that containerd itself calls. */
function linkPlugins(node: Member): void {
  const directory = outsidePath(node, paths.cniBinDir);
  mkdirSync(directory, { recursive: true });
  const ours = readdirSync(artifacts.plugins).map((name) => join(artifacts.plugins, name));
  for (const plugin of [...ours, "/usr/lib/cni/loopback"]) {
    symlinkSync(plugin, join(directory, basename(plugin)));
  }
}

// With version 2, processes are in leaves only (cgroups(7), "no internal processes"): ours in this one.
const leaf = "init";
const idle = "sleep 1000";
const readyFile = "/run/container-machine";

const joinCgroups = (directories: readonly string[]): string[] => [
  "sh",
  "-euc",
  `while [ "$1" != -- ]; do echo $$ >"$1/cgroup.procs"; shift; done; shift; exec "$@"`,
  "sh",
  ...directories,
  "--",
];

const words = (text: string): string[] => text.split(" ");

function holderCommand(node: Member, { hierarchies, directories }: OwnCgroup): string[] {
  return [
    ...joinCgroups(directories),
    // The working directory is the node's root, and ours that of the mount namespace: see below.
    ...words(`nsenter --target=${holderOf(node).pid} --net --mount --uts --wd --`),
    ...words("unshare --pid --mount --cgroup --propagation=unchanged --fork --kill-child"),
    "sh",
    "-euc",
    holderScript,
    "sh",
    ...hierarchies.flatMap(({ point, type, options }) => [point, type, options]),
  ];
}

const enterCommand = ({ pid }: ProcessIdentity, cgroup: OwnCgroup): string[] => [
  ...joinCgroups(
    cgroup.directories.map((directory, i) =>
      cgroup.hierarchies[i]?.type === "cgroup2" ? join(directory, leaf) : directory,
    ),
  ),
  ...words(`nsenter --target=${pid} --net --mount --uts --pid --cgroup --root --wd --`),
];

// A runtime pins network namespaces in its mount namespace: they are to be seen in the node's as well,
// as ip-netns(8) does it.
const sharePins = `
mkdir -p /run/netns
mount -n --bind /run/netns /run/netns
mount -n --make-shared /run/netns`;

// The last loop is what reaps orphans: a shell collects every child while it waits for one.
//
// Where all this is in a chroot, the node's root is not that of its mount namespace. runc's pivot_root(2)
// changes the latter's root only when it is its own: whoever entered a container later, by exec for one,
// would be on the machine outside. So the node's root becomes the root.
const holderScript = `
if [ "$(stat -c %d:%i .)" != "$(stat -c %d:%i /)" ]; then
  pivot_root . mnt
  umount -n --lazy /mnt
fi
cd /
mount -n -t proc proc /proc
[ "$1" = /sys/fs/cgroup ] || mount -n -t tmpfs tmpfs /sys/fs/cgroup
while [ $# -gt 0 ]; do
  mkdir -p "$1"
  if [ -n "$3" ]; then mount -n -t "$2" -o "$3" "$2" "$1"; else mount -n -t "$2" "$2" "$1"; fi
  if [ "$2" = cgroup2 ]; then
    mkdir "$1/${leaf}"
    echo $$ >"$1/${leaf}/cgroup.procs"
  fi
  shift 3
done
for dir in /var/lib/containerd /var/lib/containers /run/containerd /run/containers /run/libpod /run/runc /var/tmp; do
  mkdir -p "$dir"
  mount -n -t tmpfs tmpfs "$dir"
done
: >${readyFile}
while :; do ${idle} & wait $!; done`;

/** Starts and records a process that ends with the lab, if not before. */
function startProcess(node: Member, name: string, command: readonly string[]): ProcessIdentity {
  const [file = "", ...args] = command;
  const log = openSync(logPath(node, name), "a", 0o600);
  try {
    const child = spawn(file, args, { detached: true, stdio: ["ignore", log, log] });
    child.unref();
    const identity = child.pid === undefined ? undefined : identify(child.pid);
    if (identity === undefined) throw new Error(`Cannot start ${name} in ${node.name}`);
    writeRecord(node.directory, name, identity);
    return identity;
  } finally {
    closeSync(log);
  }
}

/** What a process that entered a PID namespace became there: its one child. */
const childOf = ({ pid }: ProcessIdentity): Promise<ProcessIdentity> =>
  waitFor(
    () => {
      const [child] = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ");
      return child === undefined || child === "" ? undefined : identify(Number(child));
    },
    { what: `process ${pid} has no child`, deadlineMs: 5000, signal },
  );

/** Those of containers, in PID namespaces of their own below, among them. */
const processesIn = (root: string): string[] =>
  readdirSync(join(root, "proc"))
    .filter((pid) => /^\d+$/.test(pid) && pid !== "1")
    .flatMap((pid) => {
      try {
        const text = readFileSync(join(root, "proc", pid, "cmdline"), "utf8");
        const line = text.replaceAll("\0", " ").trim();
        return line === "" || line === idle ? [] : [line];
      } catch {
        return []; // It ended meanwhile.
      }
    });
