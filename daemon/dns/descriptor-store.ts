// A supervisor that keeps descriptors from one start of the daemon to the next, as systemd does: what is
// asked meanwhile waits in the sockets (sd_notify(3), FDSTORE; sd_listen_fds(3)).
import { closeSync } from "node:fs";
import { sendDescriptors } from "../../kernel/descriptor-passing.ts";
import { closeOnExec } from "../../kernel/listening-socket.ts";
import { connectToDatagrams } from "../../kernel/unix-socket.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

const storedName = "fairlead-dns";
/** SD_LISTEN_FDS_START */
const firstFd = 3;
const mostFds = 64;

/** The descriptors that the supervisor has kept for this process; none without one. */
export function storedDescriptors(environment: Environment, pid: number): readonly number[] {
  const { LISTEN_PID: forPid, LISTEN_FDS: count, LISTEN_FDNAMES: names = "" } = environment;
  if (forPid !== String(pid) || count === undefined || !/^\d{1,3}$/.test(count)) return [];
  const named = names.split(":");
  const fds = Array.from({ length: Math.min(Number(count), mostFds) }, (_, i) => firstFd + i);
  const ours = fds.filter((_, i) => named[i] === storedName);
  for (const fd of ours) closeOnExec(fd);
  return ours;
}

/** Has the supervisor keep these and no others of ours. Throws KernelError; does nothing without one. */
export function storeDescriptors(environment: Environment, fds: readonly number[]): void {
  const { NOTIFY_SOCKET: path } = environment;
  if (path === undefined || path === "" || fds.length > mostFds) return;
  const notify = connectToDatagrams(path);
  try {
    sendDescriptors(notify, Buffer.from(`FDSTOREREMOVE=1\nFDNAME=${storedName}\n`), []);
    if (fds.length > 0) {
      sendDescriptors(notify, Buffer.from(`FDSTORE=1\nFDNAME=${storedName}\n`), fds);
    }
  } finally {
    closeSync(notify);
  }
}
