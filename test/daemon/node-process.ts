// A machine for one daemon: its own network, mounts and host name, with /etc and /var/lib as overlays
// and an empty /run, kept by a process that does nothing. Daemons come and go in it.
import { type ChildProcessByStdio, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { dirname, join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { text } from "node:stream/consumers";
import type { StatusReport } from "../../core/status.ts";

const setUp = `set -e
mount -t tmpfs tmpfs /mnt
for d in etc var/lib; do
  mkdir -p /mnt/$d/upper /mnt/$d/work
  mount -t overlay overlay -o lowerdir=/$d,upperdir=/mnt/$d/upper,workdir=/mnt/$d/work /$d
done
mount -t tmpfs tmpfs /run
mount -t sysfs sysfs /sys
hostname node-a
ip link set lo up
ip link add eth0 type veth peer name eth0-far
ip link set eth0 up
ip link set eth0-far up
ip address add 172.30.1.11/24 dev eth0
ip route add default via 172.30.1.1
echo ready
exec cat`;

const waitMs = 40_000;

export interface DaemonProcess {
  readonly pid: number;
  /** The log until now. */
  readonly log: () => string;
  /** Resolves when it has ended, with its exit status or its signal. */
  readonly ended: Promise<number | string>;
  readonly kill: (signal: NodeJS.Signals) => void;
}

export class TestMachine implements AsyncDisposable {
  readonly #holder: ChildProcessByStdio<Writable, Readable, null>;
  readonly #daemons: DaemonProcess[] = [];

  private constructor(holder: ChildProcessByStdio<Writable, Readable, null>) {
    this.#holder = holder;
  }

  static async open(): Promise<TestMachine> {
    const unshare = ["--mount", "--net", "--uts", "--propagation", "private", "sh", "-c", setUp];
    // It reads what we never write: when this process dies, however, it ends too.
    const holder = spawn("unshare", unshare, { stdio: ["pipe", "pipe", "inherit"] });
    const ended = once(holder, "close").then(() => "ended");
    const ready = once(holder.stdout, "data").then(String);
    const first = await Promise.race([ready, ended]);
    if (first !== "ready\n") throw new Error(`Cannot make a machine: ${first}`);
    return new TestMachine(holder);
  }

  /** The path from outside. */
  path(inside: string): string {
    return join(`/proc/${this.#holder.pid}/root`, inside);
  }

  write(inside: string, content: string): void {
    mkdirSync(dirname(this.path(inside)), { recursive: true });
    writeFileSync(this.path(inside), content);
  }

  run(...command: readonly string[]): string {
    const result = spawnSync("nsenter", [...this.enter(), ...command], { encoding: "utf8" });
    return result.stdout + result.stderr;
  }

  /** Its network namespace's file. */
  get network(): string {
    return `/proc/${this.#holder.pid}/ns/net`;
  }

  /** Starts a daemon; `ready` of it is for the caller to await. `program`: in place of the sources. */
  startDaemon(
    configPath?: string,
    program?: readonly string[],
    more: readonly string[] = [],
  ): DaemonProcess {
    const script = join(import.meta.dirname, "run-daemon.ts");
    const command = [
      ...(program === undefined ? [process.execPath, script] : [...program, "daemon"]),
      ...(configPath === undefined ? [] : [configPath]),
      ...more,
    ];
    const child = spawn("nsenter", [...this.enter(), ...command], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    let log = "";
    child.stderr.on("data", (chunk: Buffer) => (log += chunk.toString()));
    const ended = once(child, "close").then(
      ([code, signal]: (number | string)[]) => code ?? signal!,
    );
    const daemon: DaemonProcess = {
      pid: child.pid!,
      log: () => log,
      ended,
      kill: (signal) => void child.kill(signal),
    };
    this.#daemons.push(daemon);
    return daemon;
  }

  /** What nsenter needs to know. */
  enter(): readonly string[] {
    // With its root and working directory: in a chroot, those of its mount namespace are others.
    return ["-t", String(this.#holder.pid), "-m", "-n", "-u", "-r", "-w", "--"];
  }

  /** The daemon's report, once it answers and the report is as wanted. */
  async status(
    isWanted: (report: StatusReport) => boolean,
    withinMs = waitMs,
  ): Promise<StatusReport> {
    const giveUpAt = performance.now() + withinMs;
    for (let last = "no answer"; ;) {
      try {
        const report = JSON.parse(
          await text(connect(this.path("/run/fairlead/status.sock"))),
        ) as StatusReport;
        if (isWanted(report)) return report;
        last = JSON.stringify(report.problems);
      } catch (error) {
        last = String(error);
      }
      if (performance.now() > giveUpAt) {
        const logs = this.#daemons.map(({ log }) => log()).join("\n");
        throw new Error(`The daemon's status is not as wanted: ${last}\n${logs}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  readonly ready = (): Promise<StatusReport> => this.status(({ isReady }) => isReady);

  async [Symbol.asyncDispose](): Promise<void> {
    for (const daemon of this.#daemons) {
      daemon.kill("SIGKILL");
      await daemon.ended;
    }
    const gone = once(this.#holder, "close");
    this.#holder.kill("SIGKILL");
    await gone;
  }
}
