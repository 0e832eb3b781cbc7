// The few functions of the C library that Node does not offer, and nothing else. The only file that
// names koffi, so that Node's own node:ffi can take its place when it is stable.
import koffi from "koffi";

/**
 * System calls. Every result is as the kernel itself gives it: 0 or more, or a negative errno, read
 * before anything else can run. Descriptors are plain numbers; who opens one closes it.
 */
export interface SystemCalls {
  socket(domain: number, type: number, protocol: number): number;
  connect(fd: number, address: Uint8Array): number;
  bind(fd: number, address: Uint8Array): number;
  listen(fd: number, backlog: number): number;
  accept(fd: number, flags: number): number;
  /** `length` octets of `data` from its start, as one message. */
  send(fd: number, data: Uint8Array, length: number, flags?: number): number;
  /** One message into `data`; with MSG_TRUNC the result is the message's own length. */
  recv(fd: number, data: Uint8Array, flags: number): number;
  setsockopt(fd: number, level: number, option: number, value: Uint8Array): number;
  /** Fills `value`, whose length is the option's. */
  getsockopt(fd: number, level: number, option: number, value: Uint8Array): number;
  setns(fd: number, namespaceType: number): number;
  /** An ioctl that takes no argument. */
  ioctl(fd: number, request: number): number;
  flock(fd: number, operation: number): number;
  close(fd: number): number;
}

/** The calls for many datagrams at once, with results as {@link SystemCalls} has them. */
export interface DatagramCalls {
  /** `headers` holds `count` struct mmsghdr; how many messages were received. */
  recvmmsg(fd: number, headers: Uint8Array, count: number, flags: number): number;
  /** How many were sent: fewer when one cannot be, whose error the next call has. */
  sendmmsg(fd: number, headers: Uint8Array, count: number, flags: number): number;
  /** `data` to the address, as one message. */
  sendto(fd: number, data: Uint8Array, to: Uint8Array, flags: number): number;
  /** `fds` holds `count` struct pollfd; how many have something to tell. Blocks the thread. */
  poll(fds: Uint8Array, count: number, timeoutMs: number): number;
  eventfd(initial: number, flags: number): number;
}

const c = koffi.load(null);

const native = {
  socket: c.func("int socket(int domain, int type, int protocol)"),
  connect: c.func("int connect(int fd, const void *address, uint32_t length)"),
  bind: c.func("int bind(int fd, const void *address, uint32_t length)"),
  listen: c.func("int listen(int fd, int backlog)"),
  accept: c.func("int accept4(int fd, void *address, void *length, int flags)"),
  send: c.func("intptr_t send(int fd, const void *data, size_t length, int flags)"),
  recv: c.func("intptr_t recv(int fd, void *data, size_t length, int flags)"),
  setsockopt: c.func(
    "int setsockopt(int fd, int level, int option, const void *value, uint32_t length)",
  ),
  getsockopt: c.func(
    "int getsockopt(int fd, int level, int option, void *value, _Inout_ uint32_t *length)",
  ),
  setns: c.func("int setns(int fd, int type)"),
  ioctl: c.func("int ioctl(int fd, unsigned long request, uintptr_t argument)"),
  flock: c.func("int flock(int fd, int operation)"),
  close: c.func("int close(int fd)"),
};

const nativeDatagrams = {
  recvmmsg: c.func("int recvmmsg(int fd, void *headers, uint32_t count, int flags, void *timeout)"),
  sendmmsg: c.func("int sendmmsg(int fd, void *headers, uint32_t count, int flags)"),
  sendto: c.func(
    "intptr_t sendto(int fd, const void *data, size_t length, int flags, const void *to, uint32_t toLength)",
  ),
  poll: c.func("int poll(void *fds, unsigned long count, int timeout)"),
  eventfd: c.func("int eventfd(uint32_t initial, int flags)"),
};

const mallocTrim = c.func("int malloc_trim(size_t pad)");

/** Gives back to the kernel what malloc holds, of all threads, and nobody uses. */
export const trimMalloc = (): void => void mallocTrim(0);

const schedSetscheduler = c.func(
  "int sched_setscheduler(int thread, int policy, const void *param)",
);

/** sched_setscheduler(2) of a thread, 0: the calling one. `param`: a struct sched_param. */
export const setScheduler = (thread: number, policy: number, param: Int32Array): number =>
  orErrno(schedSetscheduler(thread, policy, param));

const orErrno = (result: number): number => (result < 0 ? -koffi.errno() : result);

export const systemCalls: SystemCalls = {
  socket: (domain, type, protocol) => orErrno(native.socket(domain, type, protocol)),
  connect: (fd, address) => orErrno(native.connect(fd, address, address.length)),
  bind: (fd, address) => orErrno(native.bind(fd, address, address.length)),
  listen: (fd, backlog) => orErrno(native.listen(fd, backlog)),
  accept: (fd, flags) => orErrno(native.accept(fd, null, null, flags)),
  send: (fd, data, length, flags = 0) => orErrno(native.send(fd, data, length, flags)),
  recv: (fd, data, flags) => orErrno(native.recv(fd, data, data.length, flags)),
  setsockopt: (fd, level, option, value) =>
    orErrno(native.setsockopt(fd, level, option, value, value.length)),
  getsockopt: (fd, level, option, value) =>
    orErrno(native.getsockopt(fd, level, option, value, [value.length])),
  setns: (fd, namespaceType) => orErrno(native.setns(fd, namespaceType)),
  ioctl: (fd, request) => orErrno(native.ioctl(fd, request, 0)),
  flock: (fd, operation) => orErrno(native.flock(fd, operation)),
  close: (fd) => orErrno(native.close(fd)),
};

export const datagramCalls: DatagramCalls = {
  recvmmsg: (fd, headers, count, flags) =>
    orErrno(nativeDatagrams.recvmmsg(fd, headers, count, flags, null)),
  sendmmsg: (fd, headers, count, flags) =>
    orErrno(nativeDatagrams.sendmmsg(fd, headers, count, flags)),
  sendto: (fd, data, to, flags) =>
    orErrno(nativeDatagrams.sendto(fd, data, data.length, flags, to, to.length)),
  poll: (fds, count, timeoutMs) => orErrno(nativeDatagrams.poll(fds, count, timeoutMs)),
  eventfd: (initial, flags) => orErrno(nativeDatagrams.eventfd(initial, flags)),
};

/**
 * Where the memory lies, for structures that point into it. It must outlive them, and have more than
 * 64 octets: V8 moves smaller ones.
 */
export const addressOf = (memory: Uint8Array): bigint => koffi.address(memory);

export interface Polling extends Disposable {
  /** No call any more until `resume`. */
  pause(): void;
  resume(): void;
}

/**
 * Calls back in the event loop whenever the descriptor can be read or has an error (uv_poll). Dispose
 * it before the descriptor is closed. The callback must not throw; promises do not go on behind it.
 */
export function onReadable(fd: number, callback: () => void): Polling {
  let isWanted = true;
  // koffi passes libuv's status first, whatever its types say.
  const onPoll = (status: unknown): void => {
    callback();
    // libuv stops polling at an error, but a netlink socket goes on after an ENOBUFS.
    if (status !== 0 && isWanted) handle.start({ readable: true }, onPoll);
  };
  const handle = koffi.node.poll(fd, { readable: true }, onPoll);
  return {
    pause: () => {
      isWanted = false;
      handle.stop();
    },
    resume: () => {
      isWanted = true;
      handle.start({ readable: true }, onPoll);
    },
    [Symbol.dispose]: () => {
      isWanted = false;
      handle.close();
    },
  };
}

/** The calls for messages with descriptors, with results as {@link SystemCalls} has them. */
export interface MessageCalls {
  /** `header`: a struct msghdr, which points at the rest of the message. */
  sendmsg(fd: number, header: Uint8Array, flags: number): number;
  recvmsg(fd: number, header: Uint8Array, flags: number): number;
  /** Fills `address`; how many octets of it. */
  getsockname(fd: number, address: Uint8Array): number;
}

const nativeMessages = {
  sendmsg: c.func("intptr_t sendmsg(int fd, const void *header, int flags)"),
  recvmsg: c.func("intptr_t recvmsg(int fd, void *header, int flags)"),
  getsockname: c.func("int getsockname(int fd, void *address, _Inout_ uint32_t *length)"),
};

export const messageCalls: MessageCalls = {
  sendmsg: (fd, header, flags) => orErrno(nativeMessages.sendmsg(fd, header, flags)),
  recvmsg: (fd, header, flags) => orErrno(nativeMessages.recvmsg(fd, header, flags)),
  getsockname: (fd, address) => {
    const length = [address.length];
    const result = orErrno(nativeMessages.getsockname(fd, address, length));
    return result < 0 ? result : (length[0] ?? 0);
  },
};
