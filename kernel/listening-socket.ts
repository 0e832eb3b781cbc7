// Sockets that a server listens on, by descriptor: made to be handed on to another process.
import { closeSync } from "node:fs";
import { familyOf, type Ip } from "../core/address.ts";
import { checked } from "./errno.ts";
import { addressFamily } from "./family.ts";
import { messageCalls, systemCalls } from "./ffi.ts";
import { addressFrom, ownIpv6, socketAddress } from "./udp-socket.ts";

// <sys/socket.h>, <asm-generic/socket.h>, <netinet/in.h>, <asm-generic/ioctls.h>.
const sockStream = 1;
const sockDgram = 2;
const sockNonblock = 0x800;
const sockCloexec = 0x8_0000;
const solSocket = 1;
const soReuseaddr = 2;
const soType = 3;
const soAcceptconn = 30;
const fioclex = 0x5451;
const ipv4Octets = 16;
const ipv6Octets = 28;

/** As Node has it. The kernel cuts it to net.core.somaxconn. */
const backlog = 511;

/** Listens over TCP on the address alone. Throws KernelError. */
export function listenTcpAt(address: Ip, port: number): number {
  const what = `TCP port ${port} of ${address}`;
  const family = familyOf(address);
  const type = sockStream | sockNonblock | sockCloexec;
  const fd = checked(systemCalls.socket(addressFamily(family), type, 0), `open ${what}`);
  try {
    const yes = new Uint8Array(Int32Array.of(1).buffer);
    checked(systemCalls.setsockopt(fd, solSocket, soReuseaddr, yes), `reuse ${what}`);
    if (family === 6) ownIpv6(fd);
    checked(systemCalls.bind(fd, socketAddress(address, port)), `bind ${what}`);
    checked(systemCalls.listen(fd, backlog), `listen at ${what}`);
    return fd;
  } catch (thrown) {
    closeSync(fd);
    throw thrown;
  }
}

export interface ListeningSocket {
  readonly fd: number;
  readonly transport: "udp" | "tcp";
  readonly address: Ip;
  readonly port: number;
}

/** What a descriptor from another process is; undefined when it is no socket that anybody listens on. */
export function listeningSocketOf(fd: number): ListeningSocket | undefined {
  const octets = Buffer.alloc(ipv6Octets);
  const length = messageCalls.getsockname(fd, octets);
  const family = octets.readUInt16LE();
  const isIpv4 = length === ipv4Octets && family === addressFamily(4);
  if (!isIpv4 && !(length === ipv6Octets && family === addressFamily(6))) return undefined;
  const type = numberOption(fd, soType);
  if (type !== sockDgram && !(type === sockStream && numberOption(fd, soAcceptconn) === 1)) {
    return undefined;
  }
  return {
    fd,
    transport: type === sockDgram ? "udp" : "tcp",
    address: addressFrom(octets.subarray(0, length)),
    port: octets.readUInt16BE(2),
  };
}

function numberOption(fd: number, option: number): number | undefined {
  const value = new Int32Array(1);
  const result = systemCalls.getsockopt(fd, solSocket, option, new Uint8Array(value.buffer));
  return result < 0 ? undefined : value[0];
}

/** Programs that this process starts do not get it. */
export const closeOnExec = (fd: number): void =>
  void checked(systemCalls.ioctl(fd, fioclex), "keep a descriptor from other programs");
