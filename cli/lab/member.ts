// A member of the lab: a machine of its own as far as network, file system and host name go. One idle
// process, its holder, keeps the namespaces; everything else enters them through it.
//
// Not pinned as files: a mount namespace can be bind-mounted only in an older one (mnt_ns_loop in
// fs/namespace.c), and since Linux 6.18 the numbers that tell their age are handed out per CPU, so that
// anywhere but in the machine's first mount namespace the pin fails by chance.
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { describeError } from "../../core/error.ts";
import { execute, type ExecuteOptions } from "./execute.ts";
import { identify, type ProcessIdentity } from "./process.ts";
import { readRecord, writeRecord } from "./process-record.ts";

export interface Member {
  readonly name: string;
  /** Holds the records and logs of the member's processes, and a node's own files. */
  readonly directory: string;
}

const holderName = "holder";
const setupTimeoutMs = 10_000;

/** The lab directory's source in /proc/self/mountinfo: how any lab's is known. */
export const labMountSource = "fairlead-lab";

/** The process that keeps the member's namespaces; undefined when it is not there. */
export const findHolder = (member: Member): ProcessIdentity | undefined =>
  readRecord(member.directory, holderName);

/** The file of one of a process's namespaces. */
export const namespaceOf = ({ pid }: ProcessIdentity, kind: "net" | "mnt" | "uts"): string =>
  `/proc/${pid}/ns/${kind}`;

export function holderOf(member: Member): ProcessIdentity {
  const holder = findHolder(member);
  if (holder === undefined) {
    throw new Error(`Cannot enter ${member.name}: the process that holds its namespaces is gone`);
  }
  return holder;
}

/** The words to put before a command to run it in the member. */
export const enter = (member: Member): [string, ...string[]] => [
  "nsenter",
  `--target=${holderOf(member).pid}`,
  "--net",
  "--mount",
  "--uts",
  // Where the lab was made in a chroot, the root of its mount namespaces is not ours, and the working
  // directory would be outside.
  "--root",
  "--wd",
  "--",
];

/** As {@link enter}, keeping our own file system. */
export const enterNetwork = (member: Member): [string, ...string[]] => [
  "nsenter",
  `--target=${holderOf(member).pid}`,
  "--net",
  "--",
];

export type MemberOrigin =
  /** A network namespace of its own, and the machine's file system without labs and namespace pins. */
  | { readonly kind: "machine"; readonly lab: string }
  /** The node's file system, and a network namespace by its path there. */
  | { readonly kind: "pod"; readonly node: Member; readonly netns: string };

export interface MemberSetup {
  readonly origin: MemberOrigin;
  /**
   * Shell commands, run inside before anything else is. `$name` is the member's, `args` are `$1` …;
   * with a machine's origin, the lab's files are at `$lab`, and only until the script ends.
   */
  readonly script: string;
  readonly args: readonly string[];
}

/** Makes the member and its directory, which must not be there, and sets it up. */
export async function createMember(
  member: Member,
  { origin, script, args }: MemberSetup,
  signal: AbortSignal,
): Promise<void> {
  mkdirSync(member.directory);
  const isMachine = origin.kind === "machine";
  const [file = "unshare", ...words] = [
    ...(isMachine ? [] : [...enter(origin.node), "nsenter", `--net=${origin.netns}`, "--"]),
    "unshare",
    "--mount",
    "--uts",
    ...(isMachine ? ["--net"] : []),
    // Mounts made here stay here; what the machine unmounts is not kept alive by us.
    "--propagation=slave",
    "sh",
    "-euc",
    [
      "name=$1; shift",
      ...(isMachine ? [leaveMachine, script, leaveLab] : [script]),
      becomeHolder,
    ].join("\n"),
    "sh",
    member.name,
    ...(isMachine ? [origin.lab] : []),
    ...args,
  ];
  const shell = spawn(file, words, { detached: true, stdio: "pipe" });
  try {
    await untilReady(shell, member.name, signal);
    const holder = shell.pid === undefined ? undefined : identify(shell.pid);
    if (holder === undefined) throw new Error(`Cannot hold ${member.name}: its process is gone`);
    writeRecord(member.directory, holderName, holder);
    shell.stdin.end("stay\n");
  } catch (error) {
    shell.kill("SIGKILL");
    throw error;
  } finally {
    for (const pipe of [shell.stdout, shell.stderr]) pipe.destroy();
    shell.unref();
  }
}

/** Resolves with the shell's first word, that everything is set up; throws what it said instead. */
function untilReady(
  shell: ChildProcessWithoutNullStreams,
  name: string,
  signal: AbortSignal,
): Promise<void> {
  const deadline = AbortSignal.any([signal, AbortSignal.timeout(setupTimeoutMs)]);
  let said = "";
  shell.stderr.on("data", (chunk) => void (said += String(chunk)));
  return new Promise((resolve, reject) => {
    const fail = (reason: unknown): void =>
      reject(new Error(`Cannot set ${name} up: ${said.trim() || describeError(reason)}`));
    shell.stdout.once("data", () => resolve());
    shell.once("error", fail);
    shell.once("close", (status) => fail(new Error(`exit status ${status}`)));
    deadline.addEventListener("abort", () => fail(deadline.reason), { once: true });
    if (deadline.aborted) fail(deadline.reason);
  });
}

// A mount namespace keeps alive whatever is mounted in it: pins of network namespaces, of real pods
// below /run for one, must not be among it. The lab's own files stay for a while, without what is
// mounted among them, since a bind mount takes no mounts along.
const leaveMachine = `
lab=/mnt
mount -n --bind "$1" "$lab"
shift
mounts=$(cat /proc/self/mountinfo)
while read -r _ _ _ _ point rest; do
  case $point:$rest in
    /mnt:*) ;;
    /run/*:* | *' - nsfs '* | *' - tmpfs ${labMountSource} '*)
      umount -n --lazy "$point" 2>/dev/null || true ;;
  esac
done <<END
$mounts
END
ip link set lo up
mount -n -t sysfs sysfs /sys`;

const leaveLab = `umount -n --lazy "$lab"`;

// The answer says that the holder is recorded and will be found again. It does not come when whoever
// should send it was killed: then nobody needs a holder.
const becomeHolder = `
echo "$name" >/proc/sys/kernel/hostname
cd /
echo ready
read -r answer
exec sleep infinity </dev/null >/dev/null 2>&1`;

/** Runs a command in the member; resolves with its output, throws what it said when it fails. */
export const runIn = (
  member: Member,
  command: readonly string[],
  options: ExecuteOptions,
): Promise<string> => execute([...enter(member), ...command], options);
