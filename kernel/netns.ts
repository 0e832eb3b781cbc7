// Network namespaces: the only file that enters one. A thread that is inside belongs to a pod, so what
// is done there is one short, synchronous step, and a way back that fails ends the process.
import { closeSync, constants, fstatSync, openSync, statfsSync } from "node:fs";
import { KernelError, hasErrno } from "../core/error.ts";
import { invariant } from "../core/assert.ts";
import { checked, errnoName, fromSystemError } from "./errno.ts";
import { systemCalls } from "./ffi.ts";
import type { NamespaceIdentity } from "./kernel.ts";

/** CLONE_NEWNET, <sched.h>. */
const networkNamespaceType = 0x4000_0000;
/** ioctl_ns(2): which kind of namespace a descriptor is of. */
const getNamespaceType = 0xb703;
/** File system type of namespace files, <linux/magic.h>. */
const nsfsMagic = 0x6e73_6673;

/** An open network namespace: it exists at least until this is disposed. */
export interface NamespaceHandle extends Disposable {
  readonly fd: number;
  readonly identity: NamespaceIdentity;
}

/**
 * Opens a namespace by the path of its file. KernelError ENOENT when there is no file, EINVAL when it
 * is not a network namespace. `/proc/self/fd/N` is used as it is: it stays the caller's, who closes it
 * after the handle.
 */
export function openNamespace(path: string): NamespaceHandle {
  const operation = `open the network namespace "${path}"`;
  const own = /^\/proc\/self\/fd\/(\d{1,9})$/.exec(path)?.[1];
  return own === undefined ? openFile(path, operation) : borrow(Number(own), operation);
}

function borrow(fd: number, operation: string): NamespaceHandle {
  const identity = identityOf(fd);
  if (identity === undefined) throw new KernelError(operation, "ENOENT");
  home ??= openOwnNamespace();
  // All namespaces are of one file system; of another file ioctl may ask for something else.
  if (identity.device !== home.identity.device || !isNetworkNamespace(fd)) {
    throw new KernelError(operation, "EINVAL", notOne);
  }
  return { fd, identity, [Symbol.dispose]: () => {} };
}

/** Undefined when no such descriptor is open. */
function identityOf(fd: number): NamespaceIdentity | undefined {
  try {
    const { dev, ino } = fstatSync(fd);
    return { device: dev, inode: ino };
  } catch (thrown) {
    if (hasErrno(thrown, "EBADF")) return undefined;
    throw thrown;
  }
}

const isNetworkNamespace = (fd: number): boolean =>
  systemCalls.ioctl(fd, getNamespaceType) === networkNamespaceType;

function openFile(path: string, operation: string): NamespaceHandle {
  let fd: number;
  try {
    // Before the open, which on a device or a FIFO would do something.
    if (statfsSync(path).type !== nsfsMagic) throw new KernelError(operation, "EINVAL", notOne);
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (thrown) {
    throw thrown instanceof KernelError ? thrown : fromSystemError(thrown, operation);
  }
  if (!isNetworkNamespace(fd)) {
    closeSync(fd);
    throw new KernelError(operation, "EINVAL", notOne);
  }
  const { dev, ino } = fstatSync(fd);
  return {
    fd,
    identity: { device: dev, inode: ino },
    [Symbol.dispose]: () => closeSync(fd),
  };
}

const notOne = "not a network namespace";

/** The calling thread's own; the main thread's is not that of a worker's by necessity. */
export const openOwnNamespace = (): NamespaceHandle => openNamespace("/proc/thread-self/ns/net");

/**
 * Runs `work` inside the namespace. It must be synchronous: anything that runs later runs outside.
 * What it opens (a socket) stays in the namespace.
 */
export function runInNamespace<T>(namespace: NamespaceHandle, work: () => T): T {
  home ??= openOwnNamespace();
  const operation = "enter a network namespace";
  checked(systemCalls.setns(namespace.fd, networkNamespaceType), operation);
  try {
    const result = work();
    invariant(!(result instanceof Promise), "work inside a namespace is synchronous");
    return result;
  } finally {
    const back = systemCalls.setns(home.fd, networkNamespaceType);
    if (back < 0) {
      // Every later packet, route and rule would go to the wrong namespace.
      process.stderr.write(`fairlead: cannot leave a network namespace: ${errnoName(back)}\n`);
      process.abort();
    }
  }
}

// The thread's own namespace, opened once and kept: nobody but this file ever leaves it.
let home: NamespaceHandle | undefined;
