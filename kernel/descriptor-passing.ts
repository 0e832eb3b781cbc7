// Descriptors over a Unix socket (SCM_RIGHTS, unix(7)): the receiver has the same open sockets, with all
// that waits in them.
import { closeSync } from "node:fs";
import { checked } from "./errno.ts";
import { addressOf, messageCalls } from "./ffi.ts";

// <sys/socket.h>.
const solSocket = 1;
const scmRights = 1;
const msgCtrunc = 0x08;
const msgCmsgCloexec = 0x4000_0000;
const msgDontwait = 0x40;

// struct msghdr, iovec and cmsghdr on 64-bit Linux.
const headerOctets = 56;
const vectorOctets = 16;
const controlFrontOctets = 16;
/** SCM_MAX_FD is 253; nobody here has so many. */
export const mostDescriptors = 64;
const controlOctets = controlFrontOctets + 4 * mostDescriptors;

/** All in one allocation: what points and what is pointed at live as long as each other. */
class MessageMemory {
  readonly octets: Uint8Array;
  readonly #view: DataView;
  readonly #address: bigint;
  readonly #dataAt = headerOctets + vectorOctets + controlOctets;

  constructor(dataOctets: number, controlLength: number) {
    this.octets = new Uint8Array(this.#dataAt + dataOctets);
    this.#view = new DataView(this.octets.buffer);
    this.#address = addressOf(this.octets);
    this.#view.setBigUint64(16, this.#address + BigInt(headerOctets), true);
    this.#view.setBigUint64(24, 1n, true);
    this.#view.setBigUint64(32, this.#address + BigInt(headerOctets + vectorOctets), true);
    this.#view.setBigUint64(40, BigInt(controlLength), true);
    this.#view.setBigUint64(headerOctets, this.#address + BigInt(this.#dataAt), true);
    this.#view.setBigUint64(headerOctets + 8, BigInt(dataOctets), true);
  }

  get data(): Uint8Array {
    return this.octets.subarray(this.#dataAt);
  }

  get flags(): number {
    return this.#view.getInt32(48, true);
  }

  set descriptors(fds: readonly number[]) {
    const at = headerOctets + vectorOctets;
    this.#view.setBigUint64(at, BigInt(controlFrontOctets + 4 * fds.length), true);
    this.#view.setInt32(at + 8, solSocket, true);
    this.#view.setInt32(at + 12, scmRights, true);
    for (const [i, fd] of fds.entries()) {
      this.#view.setInt32(at + controlFrontOctets + 4 * i, fd, true);
    }
  }

  /** After a receive. */
  get descriptors(): readonly number[] {
    const at = headerOctets + vectorOctets;
    if (this.#view.getBigUint64(40, true) < BigInt(controlFrontOctets)) return [];
    if (this.#view.getInt32(at + 12, true) !== scmRights) return [];
    const length = Number(this.#view.getBigUint64(at, true)) - controlFrontOctets;
    return Array.from({ length: length / 4 }, (_, i) =>
      this.#view.getInt32(at + controlFrontOctets + 4 * i, true),
    );
  }
}

/** Sends the octets, which must not be none, and the descriptors with them; they stay open here too. */
export function sendDescriptors(fd: number, data: Uint8Array, fds: readonly number[]): void {
  if (fds.length > mostDescriptors) {
    throw new RangeError(`Cannot send ${fds.length} descriptors: ${mostDescriptors} at most`);
  }
  const space = controlFrontOctets + Math.ceil((4 * fds.length) / 8) * 8;
  const message = new MessageMemory(data.length, fds.length === 0 ? 0 : space);
  message.data.set(data);
  if (fds.length > 0) message.descriptors = fds;
  checked(messageCalls.sendmsg(fd, message.octets, msgDontwait), "send descriptors");
}

export interface ReceivedDescriptors {
  /** None: the other end is gone. */
  readonly data: Uint8Array;
  /** The receiver's to close. */
  readonly fds: readonly number[];
}

/**
 * What was sent with {@link sendDescriptors}, waiting as long as the socket's SO_RCVTIMEO says. Throws
 * KernelError, EAGAIN when that was too long, and RangeError when there were more than fit.
 */
export function receiveDescriptors(fd: number, mostOctets: number): ReceivedDescriptors {
  const message = new MessageMemory(mostOctets, controlOctets);
  const received = messageCalls.recvmsg(fd, message.octets, msgCmsgCloexec);
  const length = checked(received, "receive descriptors");
  const fds = message.descriptors;
  if ((message.flags & msgCtrunc) !== 0) {
    for (const one of fds) closeSync(one);
    throw new RangeError(`Cannot take more than ${mostDescriptors} descriptors`);
  }
  return { data: message.data.slice(0, length), fds };
}
