import { checked } from "./errno.ts";
import { systemCalls } from "./ffi.ts";

/** Who is at the other end of a Unix socket, as it was when it connected (SO_PEERCRED, unix(7)). */
export interface PeerCredentials {
  /** 0 when the process is in a PID namespace that ours cannot see into. */
  readonly pid: number;
  readonly uid: number;
}

// <asm-generic/socket.h>; struct ucred is three 32-bit numbers: pid, uid, gid.
const solSocket = 1;
const soPeercred = 17;

/** `fd`: the connected socket. Throws KernelError. */
export function peerCredentials(fd: number): PeerCredentials {
  const ucred = new Int32Array(3);
  checked(
    systemCalls.getsockopt(fd, solSocket, soPeercred, new Uint8Array(ucred.buffer)),
    "read the peer's credentials",
  );
  const [pid = 0, uid = -1] = ucred;
  return { pid, uid: uid >>> 0 };
}
