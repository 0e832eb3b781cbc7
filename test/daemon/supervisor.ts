// A supervisor as sd_notify(3) and sd_listen_fds(3) have it: keeps the descriptors that a daemon sends, and
// starts the next one with them.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync } from "node:fs";
import { join } from "node:path";
import { vi } from "vitest";
import { receiveDescriptors } from "../../kernel/descriptor-passing.ts";
import { onReadable, systemCalls } from "../../kernel/ffi.ts";
import type { DaemonProcess, TestMachine } from "./node-process.ts";

const notifyPath = "/run/notify";
const waiting = { timeout: 30_000, interval: 10 };

export interface Supervisor extends AsyncDisposable {
  start(): DaemonProcess;
  /** Resolves when it has descriptors. */
  stored(): Promise<void>;
}

// AF_UNIX, SOCK_DGRAM.
function bindDatagrams(path: string): number {
  const fd = systemCalls.socket(1, 2, 0);
  const address = Buffer.from(`\0\0${path}\0`);
  address.writeUInt16LE(1);
  const result = systemCalls.bind(fd, address);
  if (result < 0) throw new Error(`Cannot bind ${path}: ${result}`);
  return fd;
}

export function openSupervisor(machine: TestMachine): Supervisor {
  const notify = bindDatagrams(machine.path(notifyPath));
  let kept: readonly number[] = [];
  const daemons: DaemonProcess[] = [];
  const polling = onReadable(notify, () => {
    const { data, fds } = receiveDescriptors(notify, 4096);
    const text = Buffer.from(data).toString();
    if (text.includes("FDSTOREREMOVE=1")) {
      for (const fd of kept) closeSync(fd);
      kept = [];
    } else if (text.includes("FDSTORE=1")) kept = [...kept, ...fds];
  });
  return {
    start: () => {
      const script = join(import.meta.dirname, "run-daemon.ts");
      // Its own number is known to the program only as it begins.
      const shell = `LISTEN_PID=$$ exec ${process.execPath} ${script}`;
      const child = spawn("nsenter", [...machine.enter(), "sh", "-c", shell], {
        stdio: ["ignore", "ignore", "pipe", ...kept],
        env: {
          ...process.env,
          NOTIFY_SOCKET: notifyPath,
          LISTEN_FDS: String(kept.length),
          LISTEN_FDNAMES: kept.map(() => "fairlead-dns").join(":"),
        },
      });
      let log = "";
      child.stderr!.on("data", (chunk: Buffer) => (log += chunk.toString()));
      const ended = once(child, "close").then(
        ([code, signal]: (number | string)[]) => code ?? signal!,
      );
      const daemon: DaemonProcess = {
        pid: child.pid!,
        log: () => log,
        ended,
        kill: (signal) => void child.kill(signal),
      };
      daemons.push(daemon);
      return daemon;
    },
    stored: () =>
      vi.waitFor(() => {
        if (kept.length < 2) throw new Error(`Only ${kept.length} descriptors are kept`);
      }, waiting),
    async [Symbol.asyncDispose]() {
      for (const daemon of daemons) {
        daemon.kill("SIGKILL");
        await daemon.ended;
      }
      polling[Symbol.dispose]();
      for (const fd of [notify, ...kept]) closeSync(fd);
    },
  };
}
