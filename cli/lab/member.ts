// A member of the lab: a machine of its own as far as network, file system and host name go. Its
// namespaces are pinned as files (bind mounts of /proc/<pid>/ns/*), so that it needs no process to
// exist, and outlives the command that made it.
import { once } from "node:events";
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { execa } from "execa";
import { commandFailure, execute, type ExecuteOptions } from "./execute.ts";

export interface Member {
  readonly name: string;
  /** Holds the pins `net`, `mnt`, `uts`, and the records and logs of the member's processes. */
  readonly directory: string;
}

const namespaceKinds = ["net", "mnt", "uts"] as const;
const setupTimeoutMs = 10_000;

/** The lab directory's source in /proc/self/mountinfo: how any lab's is known. */
export const labMountSource = "fairlead-lab";

/** The file that holds one of the member's namespaces. */
export const pinOf = (member: Member, kind: (typeof namespaceKinds)[number]): string =>
  join(member.directory, kind);

/** The words to put before a command to run it in the member. */
export const enter = (member: Member): [string, ...string[]] => [
  "nsenter",
  `--net=${pinOf(member, "net")}`,
  `--mount=${pinOf(member, "mnt")}`,
  `--uts=${pinOf(member, "uts")}`,
  "--",
];

/** As {@link enter}, keeping the machine's file system: for what names a pin. */
export const enterNetwork = (member: Member): [string, ...string[]] => [
  "nsenter",
  `--net=${pinOf(member, "net")}`,
  "--",
];

export type MemberOrigin =
  /** A network namespace of its own, and the machine's file system without any lab or namespace pin. */
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

/** Makes the namespaces, sets them up, and pins them in the member's directory, which is new. */
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
    ["name=$1; shift", isMachine ? leaveMachine : "", script, isMachine ? leaveLab : "", hold].join(
      "\n",
    ),
    "sh",
    member.name,
    ...(isMachine ? [origin.lab] : []),
    ...args,
  ];
  const shell = execa(file, words, {
    cancelSignal: signal,
    timeout: setupTimeoutMs,
    reject: false,
  });
  try {
    const isReady = await Promise.race([once(shell.stdout, "data").then(() => true), shell]);
    if (isReady === true) {
      const { directory } = member;
      await execute(["sh", "-euc", pinScript, "sh", directory, String(shell.pid)], { signal });
    }
  } finally {
    shell.stdin.end();
  }
  const result = await shell;
  signal.throwIfAborted();
  if (result.failed) throw commandFailure([`setting up ${member.name}`], result);
}

// A mount namespace keeps alive whatever is mounted in it: pins of network namespaces, of real pods
// below /run or of any lab, must not be among it. The lab's own files stay for a while, without pins,
// since a bind mount takes no mounts along.
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

// Until the pins are there, the namespaces live by this shell; it goes when its input ends, and that
// ends with whoever holds the other side, however it ends.
const hold = `
echo "$name" >/proc/sys/kernel/hostname
echo ready
read -r line || true`;

const pinScript = `
for kind in ${namespaceKinds.join(" ")}; do
  : >"$1/$kind"
  mount -n --bind "/proc/$2/ns/$kind" "$1/$kind"
done`;

/** Gives up the pins: with its last process, the member is gone. */
export async function unpin(member: Member): Promise<void> {
  for (const kind of namespaceKinds) {
    const pin = pinOf(member, kind);
    // Not mounted: it was killed between making the file and pinning. Nothing to give up.
    if (existsSync(pin)) await execa("umount", ["-n", "--lazy", pin], { reject: false });
  }
}

/** Runs a command in the member; resolves with its output, throws what it said when it fails. */
export const runIn = (
  member: Member,
  command: readonly string[],
  options: ExecuteOptions,
): Promise<string> => execute([...enter(member), ...command], options);
