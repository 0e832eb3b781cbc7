// Unix sockets by descriptor, for who exchanges one short message each way: Node's streams cost a
// connection more than its request does.
import { closeSync } from "node:fs";
import { KernelError } from "../core/error.ts";
import { checked, errnoName } from "./errno.ts";
import { datagramCalls, onReadable, systemCalls } from "./ffi.ts";

// <sys/socket.h>, <asm-generic/socket.h>.
const afUnix = 1;
const sockStream = 1;
const sockDgram = 2;
const sockNonblock = 0x800;
const sockCloexec = 0x8_0000;
const msgDontwait = 0x40;
const solSocket = 1;
const soPeercred = 17;
const soRcvtimeo = 20;

/** As Node has it. The kernel cuts it to net.core.somaxconn. */
const backlog = 511;
/** Then the event loop has its turn: the others wait in the backlog. */
const acceptedAtOnce = 64;
/** Out of descriptors or memory: until some are free again. */
const pauseMs = 100;
/** sun_path, with the zero at its end: unix(7). */
const longestPath = 108;

export interface Listening {
  /** The path of the socket, at which nothing may be yet. */
  readonly path: string;
  /** The connection is the callee's to close. `waiting`: how many more have been taken by now. */
  readonly onConnection: (fd: number, waiting: number) => void;
  /** No connection can be taken for now. */
  readonly onError: (error: KernelError) => void;
}

/** Takes connections until disposed; the file of the socket stays. */
export function listenAt({ path, onConnection, onError }: Listening): Disposable {
  const type = sockStream | sockNonblock | sockCloexec;
  const fd = checked(systemCalls.socket(afUnix, type, 0), "open a Unix socket");
  try {
    checked(systemCalls.bind(fd, addressOf(path)), `bind a socket to "${path}"`);
    checked(systemCalls.listen(fd, backlog), `listen at "${path}"`);
  } catch (thrown) {
    closeSync(fd);
    throw thrown;
  }
  let pause: NodeJS.Timeout | undefined;
  let waiting = 0;
  const handOver = (accepted: number): void => onConnection(accepted, --waiting);
  const acceptWaiting = (): void => {
    for (let count = 0; count < acceptedAtOnce; count++) {
      const accepted = systemCalls.accept(fd, sockNonblock | sockCloexec);
      // Not called here, where promises do not go on.
      if (accepted >= 0) {
        waiting++;
        setImmediate(handOver, accepted);
      } else if (!isPassing(accepted)) return waitAndSay(accepted);
      else if (errnoName(accepted) === "EAGAIN") return;
    }
  };
  const polling = onReadable(fd, acceptWaiting);
  const waitAndSay = (error: number): void => {
    polling.pause();
    pause = setTimeout(() => polling.resume(), pauseMs);
    onError(new KernelError(`accept a connection at "${path}"`, errnoName(error)));
  };
  return {
    [Symbol.dispose]: () => {
      clearTimeout(pause);
      polling[Symbol.dispose]();
      closeSync(fd);
    },
  };
}

/**
 * A connection to who listens at the path, on which a receive waits for `waitMs` at the most. Throws
 * KernelError: ENOENT or ECONNREFUSED where nobody listens.
 */
export function connectTo(path: string, waitMs: number): number {
  const fd = checked(systemCalls.socket(afUnix, sockStream | sockCloexec, 0), "open a Unix socket");
  try {
    const wait = BigInt64Array.of(
      BigInt(Math.floor(waitMs / 1000)),
      BigInt((waitMs % 1000) * 1000),
    );
    const timeval = new Uint8Array(wait.buffer);
    checked(systemCalls.setsockopt(fd, solSocket, soRcvtimeo, timeval), "set a receive timeout");
    checked(systemCalls.connect(fd, addressOf(path)), `connect to "${path}"`);
    return fd;
  } catch (thrown) {
    closeSync(fd);
    throw thrown;
  }
}

/** To a path, or to an abstract address behind "@" (unix(7)), message by message. Throws KernelError. */
export function connectToDatagrams(path: string): number {
  const type = sockDgram | sockCloexec;
  const fd = checked(systemCalls.socket(afUnix, type, 0), "open a Unix socket");
  try {
    const address = path.startsWith("@") ? abstractAddressOf(path.slice(1)) : addressOf(path);
    checked(systemCalls.connect(fd, address), `connect to "${path}"`);
    return fd;
  } catch (thrown) {
    closeSync(fd);
    throw thrown;
  }
}

const isPassing = (error: number): boolean =>
  ["EAGAIN", "EINTR", "ECONNABORTED"].includes(errnoName(error));

/** struct sockaddr_un. */
function addressOf(path: string): Uint8Array {
  const octets = Buffer.from(`\0\0${path}\0`);
  if (octets.length > longestPath + 2) throw new KernelError(`use "${path}"`, "ENAMETOOLONG");
  octets.writeUInt16LE(afUnix);
  return octets;
}

// Its length counts: no zero behind it.
function abstractAddressOf(name: string): Uint8Array {
  const octets = Buffer.from(`\0\0\0${name}`);
  octets.writeUInt16LE(afUnix);
  return octets;
}

/** Who is at the other end of a Unix socket, as it was when it connected (SO_PEERCRED, unix(7)). */
export interface PeerCredentials {
  /** 0 when the process is in a PID namespace that ours cannot see into. */
  readonly pid: number;
  readonly uid: number;
}

/** `fd`: the connected socket. Throws KernelError. */
export function peerCredentials(fd: number): PeerCredentials {
  // struct ucred is three 32-bit numbers: pid, uid, gid.
  const ucred = new Int32Array(3);
  checked(
    systemCalls.getsockopt(fd, solSocket, soPeercred, new Uint8Array(ucred.buffer)),
    "read the peer's credentials",
  );
  const [pid = 0, uid = -1] = ucred;
  return { pid, uid: uid >>> 0 };
}

const receiveBuffer = Buffer.allocUnsafe(65_536);

/** What waits to be read, at most 64 KiB; empty where nothing does, or the other end is gone. */
export function receiveWaiting(fd: number): Buffer {
  const length = systemCalls.recv(fd, receiveBuffer, msgDontwait);
  return Buffer.from(receiveBuffer.subarray(0, Math.max(0, length)));
}

// struct pollfd: fd, events, revents.
const pollEntry = Buffer.alloc(8);
const pollIn = 1;

/**
 * Blocks the whole thread until there is something to read, the other end is gone, or `forMs` are over: then
 * false.
 */
export function waitToReceive(fd: number, forMs: number): boolean {
  pollEntry.writeInt32LE(fd, 0);
  pollEntry.writeInt32LE(pollIn, 4);
  return datagramCalls.poll(pollEntry, 1, forMs) > 0;
}

/** How many octets the socket took at once: 0 where it is full, or the other end is gone. */
export const sendWithoutWaiting = (fd: number, octets: Buffer): number =>
  Math.max(0, systemCalls.send(fd, octets, octets.length, msgDontwait));
