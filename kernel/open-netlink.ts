import type { Protocol } from "netlink/dist/constants.js";
import { checked } from "./errno.ts";
import { systemCalls } from "./ffi.ts";
import { type ChunkLimits, NetlinkSocket } from "./netlink.ts";

// <sys/socket.h>, <linux/netlink.h>.
const afNetlink = 16;
const sockRaw = 3;
const sockCloexec = 0x8_0000;
const solSocket = 1;
const soRcvtimeo = 20;
const soSndbufforce = 32;
const soRcvbufforce = 33;
const soSndbuf = 7;
const soRcvbuf = 8;
const solNetlink = 270;
const netlinkAddMembership = 1;
const netlinkCapAck = 10;
const netlinkExtAck = 11;
const netlinkGetStrictCheck = 12;

export interface NetlinkOptions {
  /** Octets of both socket buffers, past the system's limits where we may. */
  readonly bufferOctets?: number;
  /** Multicast groups to join, by number. */
  readonly groups?: readonly number[];
}

/** A socket in the calling thread's network namespace, where it stays. */
export function openNetlink(protocol: Protocol, options: NetlinkOptions = {}): NetlinkSocket {
  const operation = "open a netlink socket";
  const type = sockRaw | sockCloexec;
  const fd = checked(systemCalls.socket(afNetlink, type, protocol), operation);
  try {
    configure(fd, options);
  } catch (thrown) {
    systemCalls.close(fd);
    throw thrown;
  }
  const isRoomy = options.bufferOctets !== undefined && hasRoom(fd);
  return isRoomy
    ? new NetlinkSocket(systemCalls, fd, roomyChunk)
    : new NetlinkSocket(systemCalls, fd);
}

/** Both buffers hold such a chunk, and the failure of each message of it, of some 768 octets. */
const roomyChunk: ChunkLimits = { messages: 2048, octets: 262_144 };
const roomyOctets = roomyChunk.messages * 1024;

/** The kernel gives what it reckons with: twice what was asked for. */
const hasRoom = (fd: number): boolean =>
  [soSndbuf, soRcvbuf].every((option) => {
    const octets = new Uint32Array(1);
    const value = new Uint8Array(octets.buffer);
    return (
      systemCalls.getsockopt(fd, solSocket, option, value) >= 0 && (octets[0] ?? 0) >= roomyOctets
    );
  });

function configure(fd: number, { bufferOctets, groups = [] }: NetlinkOptions): void {
  const set = (level: number, option: number, value: Uint8Array): number =>
    systemCalls.setsockopt(fd, level, option, value);
  // Each of these is older than Linux 5.10, the oldest that fairlead runs on.
  checked(set(solNetlink, netlinkCapAck, one), "ask netlink for short acknowledgements");
  checked(set(solNetlink, netlinkExtAck, one), "ask netlink for error texts");
  // Without it the kernel ignores a dump's filters and sends everything.
  checked(set(solNetlink, netlinkGetStrictCheck, one), "ask netlink for filtered dumps");
  checked(set(solSocket, soRcvtimeo, receiveTimeout), "set a receive timeout");
  if (bufferOctets !== undefined) {
    // Without CAP_NET_ADMIN in the first user namespace the plain options go as far as allowed.
    const octets = wordsOf([bufferOctets]);
    if (set(solSocket, soSndbufforce, octets) < 0) set(solSocket, soSndbuf, octets);
    if (set(solSocket, soRcvbufforce, octets) < 0) set(solSocket, soRcvbuf, octets);
  }
  // To port 0, the kernel's, which binds the socket too: unbound, it would be sent no multicast. It
  // takes messages from nobody else now, for in a sandbox there may be others with the privilege to
  // write to it.
  checked(systemCalls.connect(fd, kernelAddress), "connect a netlink socket");
  for (const group of groups) {
    checked(
      set(solNetlink, netlinkAddMembership, wordsOf([group])),
      `join the netlink group ${group}`,
    );
  }
}

const wordsOf = (words: readonly number[]): Uint8Array =>
  new Uint8Array(Uint32Array.from(words).buffer);

// Every ADD opens a socket in its sandbox: what is the same for each is made once.
const one = wordsOf([1]);
/** struct timeval, two 64-bit fields: 5 s. A lost acknowledgement must not hang the process. */
const receiveTimeout = wordsOf([5, 0, 0, 0]);
/** struct sockaddr_nl: family, port, groups. */
const kernelAddress = wordsOf([afNetlink, 0, 0]);
